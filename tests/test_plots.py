import numpy as np
import pytest
from PIL import Image

from raytune_ocr.plots import (
    draw_confusion_matrix,
    draw_importance,
    draw_parallel,
    draw_trial_curves,
    reading_sheet,
    save_figure,
)


@pytest.mark.parametrize("dark", [False, True])
def test_a_figure_has_the_background_of_its_page(tmp_path, dark):
    def draw(figure):
        draw_confusion_matrix(figure, np.eye(10, dtype=int))

    save_figure(tmp_path / "f.png", draw, (5, 5), dark)
    with Image.open(tmp_path / "f.png") as picture:
        corner = picture.convert("RGB").getpixel((0, 0))
        middle_of_an_empty_cell = picture.convert("L").getpixel((picture.width // 2, 150))
    assert corner == ((0x14, 0x17, 0x1B) if dark else (255, 255, 255))
    assert (middle_of_an_empty_cell < 60) == dark


def test_a_dark_figure_leaves_no_trace_in_the_next_one(tmp_path):
    rows = [("learning_rate", 0.5, 0.2, 0.8, 0.3)]
    for dark in (False, True, False):
        path = tmp_path / f"{dark}.png"
        before = path.read_bytes() if path.exists() else None
        save_figure(path, lambda figure: draw_importance(figure, rows), dark=dark)
        assert before in (None, path.read_bytes())


def test_a_sheet_shows_every_image_under_its_reading():
    images = np.full((5, 64, 128), 200, np.uint8)
    sheet = reading_sheet(images, [("12", "12")] * 4 + [("3", "8")], columns=4)
    assert sheet.shape[2] == 3 and sheet.dtype == np.uint8
    red = (sheet[..., 0].astype(int) - sheet[..., 1]) > 100
    assert not red[: sheet.shape[0] // 2].any()  # right readings
    assert red[sheet.shape[0] // 2 :].any()  # the wrong one


def test_a_legend_of_many_trials_names_the_first_twelve(tmp_path):
    legends = []

    def draw(figure):
        draw_trial_curves(figure, {f"t{n}": ([1, 2], [0.1, n / 20]) for n in range(20)}, "score")
        legends.append(figure.axes[0].get_legend())
        assert len(figure.axes[0].get_lines()) == 2 * 20

    save_figure(tmp_path / "f.png", draw)
    assert [text.get_text() for text in legends[0].get_texts()] == [f"t{n}" for n in range(12)]


def test_numbers_of_a_setting_that_some_trials_lack_stand_in_order_below_the_lack(tmp_path):
    def draw(figure):
        columns = {"hidden": [1e-5, 128, "not set", 64, 64]}
        draw_parallel(figure, columns, [0.1, 0.2, 0.3, 0.4, 0.5], "score")
        lines = [line.get_ydata()[0] for line in figure.axes[0].get_lines()]
        assert lines == pytest.approx([0, 2 / 3, 1, 1 / 3, 1 / 3])

    save_figure(tmp_path / "f.png", draw)
