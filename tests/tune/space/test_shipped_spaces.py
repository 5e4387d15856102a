"""Search spaces are found by path, and those of the package by name."""

import pytest

from raytune_ocr.errors import ConfigurationNotFoundError
from raytune_ocr.tune.space.shipped_spaces import find_space, shipped_spaces


def test_a_file_is_found_by_its_path_and_a_shipped_space_by_its_name(tmp_path):
    file = tmp_path / "quick.yaml"
    file.write_text("{}")
    assert find_space(file) == file
    assert find_space("quick") == shipped_spaces()["quick"] and find_space("quick").is_file()


def test_a_space_that_is_not_there_is_named_with_the_nearest(tmp_path):
    with pytest.raises(ConfigurationNotFoundError, match=r"qick: no such .*did you mean 'quick'"):
        find_space("qick")
    with pytest.raises(ConfigurationNotFoundError, match="not a valid file name"):
        find_space("a" * 5000)
