"""The registered datasets of images with one label each."""

import gzip

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from raytune_ocr.data import DatasetRegistry
from raytune_ocr.errors import DataLoaderError, DataNotFoundError


def draw(file, level, mode="L"):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (30, 20), level).save(file)


@pytest.fixture
def folder(tmp_path):
    for number in range(30):
        draw(tmp_path / "animals" / ("cat", "dog", "newt")[number % 3] / f"{number}.png", number)
    return tmp_path / "animals"


def idx(array):
    """The bytes of an IDX file."""
    head = bytes((0, 0, 8, array.ndim))
    return head + np.array(array.shape, dtype=">u4").tobytes() + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist(tmp_path):
    rng = np.random.default_rng(1)
    folder = tmp_path / "mnist"
    folder.mkdir()
    for name, count in (("train", 12), ("t10k", 5)):
        images = idx(rng.integers(0, 256, (count, 28, 28)))
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx(np.arange(count) % 10))
    return folder


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
            draw(tmp_path / "images" / split / "ab"[number % 2] / f"{number}.png", 10 * number)
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
            draw(tmp_path / split / name / f"{number}.jpg", (200, 10, 10), "RGB")
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


def test_the_idx_files_of_mnist_are_read_gzipped_or_not(mnist):
    train, val = DatasetRegistry.create("mnist", path=mnist).get_dataloaders(batch_size=12)
    images, labels = next(iter(train))
    assert (images.shape, images.dtype) == ((12, 1, 28, 28), torch.uint8)
    assert sorted(labels.tolist()) == sorted([*range(10), 0, 1])
    assert len(val.dataset) == 5


def test_absent_files_of_mnist_say_where_to_put_them(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"train-images-idx3-ubyte.* put the four IDX"):
        DatasetRegistry.create("mnist", path=tmp_path).get_dataloaders()


@pytest.mark.parametrize("content", [b"", b"\0\0\10\1\0\0\0\5abc", b"\0\0\15\1\0\0\0\1a"])
def test_a_damaged_file_of_mnist_is_named(mnist, content):
    (mnist / "train-labels-idx1-ubyte").write_bytes(content)
    with pytest.raises(DataLoaderError, match="train-labels-idx1-ubyte: must be an IDX file"):
        DatasetRegistry.create("mnist", path=mnist).get_dataloaders()


def test_transforms_stay_until_they_are_reapplied_and_depend_on_the_epoch(folder):
    def images(dataset, epoch=None):
        train, val = dataset.get_dataloaders(batch_size=27)
        if epoch is not None:
            dataset.reapply_transforms(epoch)
        held_out = next(iter(val))[0]
        return next(iter(train))[0], held_out

    make = lambda: DatasetRegistry.create("image_folder", path=folder, augmentation=True)  # noqa: E731
    plain, plain_val = images(DatasetRegistry.create("image_folder", path=folder))
    once, val = images(make())
    again, _ = images(make(), epoch=0)
    later, _ = images(make(), epoch=3)
    assert not torch.equal(once, plain)
    assert torch.equal(val, plain_val)
    assert torch.equal(once, again)
    assert not torch.equal(once, later)


def test_what_is_wrong_with_a_folder_is_told(folder, tmp_path):
    def told(path, **options):
        with pytest.raises(DataLoaderError) as error:
            DatasetRegistry.create("image_folder", path=path, **options).get_dataloaders()
        return str(error.value)

    assert "no such folder of images" in told(tmp_path / "nowhere")
    (tmp_path / "single" / "one").mkdir(parents=True)
    assert "at least two classes, got []" in told(tmp_path / "single")  # none has an image
    draw(tmp_path / "single" / "one" / "1.png", 9)
    assert "at least two classes, got ['one']" in told(tmp_path / "single")
    assert "channels must be 1 or 3" in told(folder, channels=2)
    (folder / "cat" / "bad.png").write_bytes(b"no image")
    assert "at most 1 % of the images may be unreadable" in told(folder)
