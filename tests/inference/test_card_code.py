import sys
import types

import numpy as np
import pytest
from PIL import Image

from raytune_ocr.data import to_canvas
from raytune_ocr.data.images import open_image
from raytune_ocr.inference.card_code import (
    classifier_code,
    classifier_words,
    reader_code,
    reader_words,
)


class Session:
    """Stands for onnxruntime: answers with fixed logits and keeps what it was given."""

    logits = None
    given = None

    def __init__(self, path):
        assert path == "model.onnx"

    def run(self, names, inputs):
        assert names == ["logits"]
        Session.given = inputs["images"]
        return [Session.logits]


@pytest.fixture
def run(monkeypatch):
    """What the code of a card defines, for logits that are given."""
    fake = types.ModuleType("onnxruntime")
    fake.InferenceSession = Session
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)

    def names_of(code, ids):
        Session.logits = np.eye(13, dtype=np.float32)[None, ids] * 9
        names = {}
        exec(code, names)
        return names

    return names_of


@pytest.fixture
def photo(tmp_path):
    file = tmp_path / "photo.png"
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (90, 40), dtype=np.uint8)).save(file)
    return file


@pytest.mark.parametrize(
    ("kind", "ids", "text"),
    [
        ("ctc", [12, 1, 1, 12, 1, 2, 2, 12], "១១២"),
        ("ctc", [12, 12], ""),
        ("attention", [3, 3, 10, 4], "៣៣"),
        ("attention", [3, 4], "៣៤"),
    ],
)
def test_the_code_of_a_reader_decodes_as_its_kind(run, photo, kind, ids, text):
    assert run(reader_code(kind), ids)["read"](photo) == text


def test_the_code_prepares_an_image_as_this_package_does(run, photo):
    run(reader_code("ctc"), [12])["read"](photo)
    with open_image(photo) as image:
        expected = to_canvas(image)
    assert Session.given.dtype == np.uint8
    np.testing.assert_array_equal(Session.given, expected[None, None])


def test_the_code_of_a_classifier_names_the_likeliest_class(run, photo):
    names = run(classifier_code(["dark", "li'ght"], [3, 5, 7]), [0])
    Session.logits = np.array([[0.0, np.log(3)]], dtype=np.float32)
    assert names["read"](photo) == ("li'ght", pytest.approx(0.75))
    assert Session.given.shape == (1, 3, 5, 7)


def test_the_words_tell_shapes_and_classes():
    assert "float [B, 32, 13], kind `ctc`" in reader_words("ctc", 32)
    assert "classes 10 and 11 are masked" in reader_words("ctc", 32)
    assert "ends before the first EOS" in reader_words("attention", 9)
    assert "float [B, 2], a class each: cat, dog" in classifier_words(["cat", "dog"], [1, 8, 8])
