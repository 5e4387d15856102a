"""The registered datasets of images with one label each."""

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from raytune_ocr.data import DatasetRegistry
from raytune_ocr.errors import DataLoaderError
from tests.fixtures.labelled import animals, picture


@pytest.fixture
def folder(tmp_path):
    return animals(tmp_path)


def test_classes_are_numbered_by_name_and_about_a_tenth_is_held_out(folder):
    dataset = DatasetRegistry.create("image_folder", path=folder)
    train, val = dataset.get_dataloaders(batch_size=30)
    assert dataset.classes == ["cat", "dog", "newt"]
    assert dataset.model_arguments() == {"num_classes": 3, "in_channels": 1}
    assert dataset.model_facts() == {
        "class_names": ["cat", "dog", "newt"],
        "image_shape": [1, 64, 64],
    }
    assert len(train.dataset) + len(val.dataset) == 30 and 1 <= len(val.dataset) <= 6
    images, labels = next(iter(train))
    assert torch.equal(images[:, 0, 0, 0] % 3, labels)  # the grey level was the number


def test_a_model_with_batch_norm_trains_whatever_number_of_images_there_is(tmp_path):
    for split, count in (("train", 17), ("val", 2)):
        for number in range(count):
            picture(
                tmp_path / "images" / split / "ab"[number % 2] / f"{number}.png", value=10 * number
            )
    dataset = DatasetRegistry.create("image_folder", path=tmp_path / "images", size=8)
    train, _ = dataset.get_dataloaders(batch_size=16)
    norm = torch.nn.BatchNorm1d(64)
    for images, _ in train:
        norm(images.flatten(1).float())
    assert norm.num_batches_tracked == 1


def test_a_folder_with_its_own_val_is_taken_as_it_is_in_colour_and_any_size(tmp_path):
    for split, count in (("train", 4), ("valid", 2)):
        for number in range(count):
            name = ("a", "b")[number % 2]
            picture(tmp_path / split / name / f"{number}.jpg", (200, 10), "RGB", value=200)
    dataset = DatasetRegistry.create("image_folder", path=tmp_path, size=(16, 24), channels=3)
    train, val = dataset.get_dataloaders(batch_size=4)
    assert next(iter(train))[0].shape == (4, 3, 16, 24)
    assert len(val.dataset) == 2


@pytest.mark.parametrize("channels", [1, 3])
def test_unusual_pictures_of_a_class_are_seen_as_the_eye_sees_them(tmp_path, channels):
    def seen(image, **options):
        image.save(tmp_path / "a.png", **options)
        dataset = DatasetRegistry.create("image_folder", size=8, channels=channels)
        pixels = dataset._decode(tmp_path / "a.png")
        assert pixels.shape == (channels, 8, 8)
        return pixels[-1]

    assert (seen(Image.new("LA", (8, 8), (0, 0))) == 255).all()  # on white paper
    assert (seen(Image.new("RGB", (8, 8)), transparency=(0, 0, 0)) == 255).all()
    assert (seen(Image.new("RGBA", (8, 8), (7, 7, 7, 255))) == 7).all()
    levels = np.tile(np.linspace(20_000, 60_000, 8).astype(np.uint16), (8, 1))
    assert (np.diff(seen(Image.fromarray(levels))[0].astype(int)) > 30).all()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    upside_down = np.repeat(np.arange(8, dtype=np.uint8), 8).reshape(8, 8)
    assert (seen(Image.fromarray(upside_down), exif=exif)[:, 0] == np.arange(8)[::-1]).all()


def test_what_is_wrong_with_a_folder_is_reported(folder, tmp_path):
    def output(path, **options):
        with pytest.raises(DataLoaderError) as error:
            DatasetRegistry.create("image_folder", path=path, **options).get_dataloaders()
        return str(error.value)

    assert "no such folder of images" in output(tmp_path / "nowhere")
    (tmp_path / "single" / "one").mkdir(parents=True)
    assert "at least two classes, got []" in output(tmp_path / "single")  # none has an image
    picture(tmp_path / "single" / "one" / "1.png", value=9)
    assert "at least two classes, got ['one']" in output(tmp_path / "single")
    assert "channels must be 1 or 3" in output(folder, channels=2)
    (folder / "cat" / "bad.png").write_bytes(b"no image")
    assert "at most 1 % of the images may be unreadable" in output(folder)
