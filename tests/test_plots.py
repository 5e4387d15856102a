import numpy as np
from PIL import Image

from raytune_ocr.plots import draw_confusion_matrix, reading_sheet, save_figure


def test_a_confusion_matrix_is_a_figure_with_a_white_background(tmp_path):
    def draw(figure):
        draw_confusion_matrix(figure, np.eye(10, dtype=int))
        assert len(figure.axes[0].texts) == 10  # the counts that are not 0

    save_figure(tmp_path / "f.png", draw, (5, 5))
    with Image.open(tmp_path / "f.png") as picture:
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_a_sheet_shows_every_image_under_its_reading():
    images = np.full((5, 64, 128), 200, np.uint8)
    sheet = reading_sheet(images, [("12", "12")] * 4 + [("3", "8")], columns=4)
    assert sheet.shape[2] == 3 and sheet.dtype == np.uint8
    red = (sheet[..., 0].astype(int) - sheet[..., 1]) > 100
    assert not red[: sheet.shape[0] // 2].any()  # right readings
    assert red[sheet.shape[0] // 2 :].any()  # the wrong one
