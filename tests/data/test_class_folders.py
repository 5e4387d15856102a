import pytest

from raytune_ocr.data import load_split
from tests.fixtures.labelled import message, picture


def test_a_folder_with_foreign_class_names_is_reported(tmp_path):
    picture(tmp_path / "1" / "a.png")
    picture(tmp_path / "cat" / "a.png")
    assert "named 0-9" in message(tmp_path) and "'cat'" in message(tmp_path)


@pytest.mark.parametrize("name", ["Validation", "Val", "dev", "valid"])
def test_a_folder_of_a_split_is_known_by_any_usual_name(tmp_path, name):
    picture(tmp_path / "Train" / "3" / "a.png", value=1)
    picture(tmp_path / name / "3" / "b.png", value=2)
    assert load_split(tmp_path, "val").images[0, 0, 0] == 2


def test_a_folder_that_looks_like_a_split_and_is_none_is_an_error(tmp_path):
    picture(tmp_path / "train" / "3" / "a.png")
    picture(tmp_path / "vaildation" / "3" / "b.png")
    assert "vaildation: looks like a split, but is not named train, val or test" in message(
        tmp_path
    )
