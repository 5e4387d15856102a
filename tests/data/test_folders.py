"""What a folder of pictures holds."""

import pytest

from raytune_ocr.data.folders import PassedOver, images_below
from raytune_ocr.errors import DataNotFoundError
from raytune_ocr.inference.locate import find_images


@pytest.fixture
def folder(tmp_path):
    for name in ("b.jpg", "a/1.PNG", "a/deep/2.jfif", "w.avif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in (".hidden/1.png", "__MACOSX/1.png", "@eaDir/1.png", "._b.jpg", "a/.x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_images_are_found_at_any_depth_and_what_tools_keep_is_not(folder):
    passed_over = PassedOver()
    found = [path.relative_to(folder).as_posix() for path in images_below(folder, passed_over)]
    assert found == ["a/1.PNG", "a/deep/2.jfif", "b.jpg", "w.avif"]
    assert not list(passed_over.lines())


def test_what_is_passed_over_is_named_with_its_reason_and_counted(folder):
    for number in range(5):
        (folder / f"{number}.HEIC").touch()
    (folder / "notes.txt").touch()
    passed_over = PassedOver()
    images_below(folder, passed_over)
    output = "\n".join(passed_over.lines())
    assert passed_over.pictures == 5
    assert "5 not used, .heic is not supported" in output and "and 2 more" in output
    assert "1 not used, not an image (suffix .txt)" in output and "notes.txt" in output


def test_a_folder_without_an_image_says_what_it_holds(tmp_path):
    (tmp_path / "IMG_1.HEIC").touch()
    with pytest.raises(DataNotFoundError, match=r"contains no image; 1 not used, \.heic"):
        find_images([tmp_path])
