import pytest
import torch
from PIL import Image

from raytune_ocr.data import BaseDataset, DatasetRegistry
from raytune_ocr.errors import DataLoaderError, DataNotFoundError


@pytest.fixture
def folder(tmp_path):
    for split, count in (("train", 6), ("valid", 3)):
        for number in range(count):
            path = tmp_path / split / str(number % 3) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (28, 28), 40 * number).save(path)
    return tmp_path


@pytest.fixture
def names(monkeypatch):
    monkeypatch.setattr(DatasetRegistry, "_factories", dict(DatasetRegistry._factories))


def test_the_datasets_of_the_package_are_listed():
    assert {"image_folder", "khmer_digits"} <= set(DatasetRegistry.names())


def test_an_image_folder_gives_its_two_loaders(folder):
    dataset = DatasetRegistry.create("image_folder", path=folder)
    train, val = dataset.get_dataloaders(batch_size=4)
    images, targets = next(iter(train))
    assert images.shape == (4, 1, 64, 64)
    assert images.dtype == torch.uint8
    assert targets.shape == (4,)
    assert sum(len(batch) for batch, _ in train) == 6
    assert sum(len(batch) for batch, _ in val) == 3


def test_the_seed_decides_the_order_of_training(folder):
    def first(seed):
        dataset = DatasetRegistry.create("image_folder", path=folder, seed=seed)
        return next(iter(dataset.get_dataloaders(batch_size=6)[0]))[0]

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_another_path_that_is_absent_is_reported_and_nothing_is_made(tmp_path):
    dataset = DatasetRegistry.create("khmer_digits", path=tmp_path / "metadata.yaml")
    with pytest.raises(DataNotFoundError, match=r"metadata\.yaml"):
        dataset.get_dataloaders()
    assert not list(tmp_path.iterdir())


def test_a_dataset_of_ones_own_is_one_class_and_one_line(names):
    @DatasetRegistry.register("mine")
    class Mine(BaseDataset):
        def __init__(self, size=2):
            self.size = size

        def get_dataloaders(self, batch_size=32):
            return ["train"] * self.size, ["val"] * self.size

    assert "mine" in DatasetRegistry.names()
    train, val = DatasetRegistry.create("mine", size=3).get_dataloaders(batch_size=64)
    assert (len(train), len(val)) == (3, 3)


def test_an_unknown_name_lists_those_there_are_and_suggests_the_nearest():
    with pytest.raises(DataLoaderError, match=r"'image_foldr' \(known: .*'image_folder'\?"):
        DatasetRegistry.create("image_foldr")


def test_a_taken_name_is_refused(names):
    with pytest.raises(DataLoaderError, match="'khmer_digits' is registered already"):
        DatasetRegistry.register("khmer_digits")(lambda: None)
