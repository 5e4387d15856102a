import numpy as np
import pytest
from PIL import Image

import raytune_ocr
from raytune_ocr.errors import CheckpointError, DataLoaderError
from raytune_ocr.inference.model import Model
from tests.fixtures.readers import scans, train_reader
from tests.inference.test_reading import Brightness


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train_reader(folder, "ctc_small")
    return folder


def test_a_path_a_picture_and_an_array_are_read_alike(run, tmp_path):
    model = raytune_ocr.load(run / "one")
    assert model.config.model_name == "ctc_small" and model.class_names is None
    file = scans(tmp_path, 1) / "0.png"
    picture = Image.open(file)
    pixels = np.asarray(picture)
    sources = [file, str(file), picture, pixels, pixels[:, :, None], pixels / 255.0]
    readings = [model.read(source) for source in sources]
    assert len({(each.text, round(each.confidence, 6)) for each in readings}) == 1
    assert readings[0].file == str(file) and readings[2].file == "image 0"
    colour = np.repeat(pixels[:, :, None], 3, axis=2)
    assert list(model.read_all([file, colour]))[1].text == readings[0].text


def test_one_model_file_is_loaded_and_what_is_none_is_an_error(run, tmp_path):
    file = run / "one" / "checkpoints" / "best_model.pt"
    assert raytune_ocr.load(str(file)).path == file
    with pytest.raises(CheckpointError):
        raytune_ocr.load(tmp_path)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 2), np.uint8), r"got uint8 \[4, 4, 2\]"),
        (np.zeros((4, 4), np.int64), r"got int64 \[4, 4\]"),
        (np.zeros((4, 4), np.uint16), "got uint16"),
        (np.full((4, 4), 2.0), "got 2 to 2"),
        (np.full((4, 4), np.nan), "got nan to nan"),
        (np.zeros((0, 4), np.uint8), "got uint8"),
        ([[1, 2]], "must be an image, got list"),
        ("nowhere.png", "nowhere.png"),
    ],
)
def test_what_is_no_image_is_reported_with_the_rule(image, message):
    with pytest.raises(DataLoaderError, match=message):
        Model("brightness.pt", Brightness()).read(image)


def test_a_classifier_names_its_likeliest_classes():
    model = Model("brightness.pt", Brightness())
    reading = model.read(np.full((9, 9), 130, np.uint8), top_k=5)
    assert model.class_names == ["dark", "light"]
    ((other, rest),) = reading.others
    assert (reading.text, other) == ("light", "dark")
    assert reading.confidence + rest == pytest.approx(1.0)
    assert model.read(np.full((9, 9), 130, np.uint8)).others == ()
