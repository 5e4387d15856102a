import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.inference.calibration import Calibration
from raytune_ocr.inference.locate import find_images
from raytune_ocr.inference.reading import SEVERAL_LINES, TOO_LONG, predict
from tests.fixtures.readers import scans


class Counted(nn.Module):
    """Reads any image as so many digits, surely."""

    kind = "attention"

    def __init__(self, digits):
        super().__init__()
        self.ids = [1] * digits + [10] * (9 - digits)

    def forward(self, images):
        return 20.0 * nn.functional.one_hot(torch.tensor(self.ids), 13).repeat(len(images), 1, 1)


def test_more_digits_than_a_label_has_are_no_text_and_confidence_0(tmp_path):
    files = find_images([scans(tmp_path)])
    assert {(r.text, r.confidence, r.note) for r in predict(Counted(9), files)} == {
        ("", 0.0, TOO_LONG)
    }
    assert all(len(r.text) == 8 and r.confidence > 0.9 for r in predict(Counted(8), files))


def test_several_lines_have_confidence_0_and_say_why(tmp_path):
    page = np.full((64, 128), 230, dtype=np.uint8)
    for top in (8, 40):
        page[top : top + 14, 10:110:8] = page[top : top + 14, 11:111:8] = 20
    Image.fromarray(page).save(tmp_path / "two.png")
    (reading,) = predict(Counted(4), [tmp_path / "two.png"])
    assert (reading.confidence, reading.note) == (0.0, SEVERAL_LINES)


class Brightness(nn.Module):
    """Tells dark images of 2 x 2 pixels from light ones."""

    class_names = ("dark", "light")
    image_shape = (1, 2, 2)

    def forward(self, images):
        light = images.float().mean(dim=(1, 2, 3)) / 25.5 - 5
        return torch.stack([-light, light], dim=1)


def test_a_classifier_names_the_class_and_its_probability_batch_by_batch(tmp_path):
    files = [tmp_path / f"{level}.png" for level in (0, 255, 10)]
    for file, level in zip(files, (0, 255, 10), strict=True):
        Image.new("L", (20, 10), level).save(file)
    readings = list(predict(Brightness(), files, batch_size=2))
    assert [(r.file, r.text, r.note) for r in readings] == [
        (str(file), text, "") for file, text in zip(files, ("dark", "light", "dark"), strict=True)
    ]
    assert [r.confidence for r in readings] == pytest.approx([1.0, 1.0, 0.9999], abs=1e-3)


def test_what_is_no_image_is_noted_and_skipped(tmp_path):
    Image.new("L", (20, 10), 255).save(tmp_path / "white.png")
    (tmp_path / "text.png").write_text("no image")
    unreadable = []
    files = [tmp_path / "text.png", tmp_path / "white.png"]
    (reading,) = predict(Brightness(), files, unreadable=unreadable)
    assert reading.text == "light"
    assert [line.partition(":")[0] for line in unreadable] == [str(tmp_path / "text.png")]


def test_calibrated_confidences_of_all_classes_still_add_up_to_one():
    model = Brightness()
    model.calibration = Calibration(slope=0.5, offset=-0.2)
    (reading,) = predict(model, [np.full((4, 4), 135, np.uint8)], top_k=2)
    (plain,) = predict(Brightness(), [np.full((4, 4), 135, np.uint8)])
    assert reading.confidence == pytest.approx(model.calibration(plain.confidence))
    assert reading.confidence + reading.others[0][1] == pytest.approx(1.0)


def test_a_reader_of_digits_has_no_classes_to_name():
    with pytest.raises(
        ConfigurationError, match="--top-k: must be 1 for a digit recognition model"
    ):
        list(predict(Counted(3), [], top_k=2))
