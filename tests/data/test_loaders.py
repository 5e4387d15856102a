import numpy as np
import pytest
import torch

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import (
    BatchAugment,
    EpochSampler,
    KhmerDigitsDataset,
    PackedSplit,
    SyntheticComposer,
    create_data_loaders,
    generate_dataset,
)
from raytune_ocr.data.augment import _extreme
from raytune_ocr.errors import DataLoaderError
from raytune_ocr.vocabulary import encode


def packed(size=50, seed=1):
    images, texts = SyntheticComposer(seed=seed).batch(size)
    return PackedSplit(images, np.array([encode(text) for text in texts]), "train")


@pytest.fixture(scope="module")
def batch():
    return torch.from_numpy(packed(64).images).unsqueeze(1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_batch_is_uint8_images_and_int64_targets():
    splits = {"train": packed(), "val": packed(20, seed=2)}
    train, val = create_data_loaders(TrainingConfig(batch_size=16), splits=splits)
    images, targets = next(iter(train))
    assert (images.shape, images.dtype) == ((16, 1, 64, 128), torch.uint8)
    assert (targets.shape, targets.dtype) == ((16, 9), torch.int64)
    assert [len(b[0]) for b in train] == [16, 16, 16, 2]
    assert sum(len(b[0]) for b in val) == 20


def test_loaders_are_made_from_keywords_as_well(tmp_path):
    path = generate_dataset(tmp_path, 30, seed=1)
    train, val = create_data_loaders(metadata_path=str(path), batch_size=8, num_workers=2)
    assert (len(train), len(val)) == (3, 1)


@pytest.mark.parametrize(
    ("size", "batch_size", "sizes"),
    [(17, 8, [8, 8]), (18, 8, [8, 8, 2]), (16, 8, [8, 8]), (1, 8, [1]), (3, 1, [1, 1, 1])],
)
def test_a_single_sample_that_is_left_over_is_no_training_batch(size, batch_size, sizes):
    splits = {"train": packed(size), "val": packed(129)}
    config = TrainingConfig(batch_size=batch_size)
    train, val = create_data_loaders(config, splits=splits)
    assert [len(images) for images, _ in train] == sizes and len(train) == len(sizes)
    assert [len(images) for images, _ in val] == [128, 1]  # all are measured


def test_a_dataset_gives_single_images_too():
    split = packed()
    image, target = KhmerDigitsDataset.from_packed(split)[7]
    assert np.array_equal(image[0].numpy(), split.images[7])
    assert target.tolist() == split.targets[7].tolist()


def test_batches_are_copies_so_that_shared_memory_stays_as_it_is():
    split = packed()
    split.images.flags.writeable = False
    images, _ = KhmerDigitsDataset.from_packed(split).__getitems__([0, 1])
    images.zero_()
    assert split.images[0].any()


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch, shuffle=True):
        sampler = EpochSampler(30, seed, shuffle)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 3) == order(1, 3)
    assert order(1, 3) != order(1, 4) != order(2, 4)
    assert sorted(order(1, 3)) == order(1, 3, shuffle=False) == list(range(30))


def test_an_empty_or_misshapen_split_is_refused():
    with pytest.raises(DataLoaderError, match="at least one image"):
        PackedSplit(np.zeros((0, 64, 128), np.uint8), np.zeros((0, 9), np.int64), "val")
    with pytest.raises(DataLoaderError, match="uint8 of shape"):
        PackedSplit(np.zeros((2, 10, 10), np.uint8), np.zeros((2, 9), np.int64), "val")


def test_augmentation_keeps_shape_and_type_and_leaves_its_input(batch):
    before = batch.clone()
    changed = BatchAugment()(batch, generator())
    assert (changed.shape, changed.dtype) == (batch.shape, torch.uint8)
    assert torch.equal(batch, before)
    assert (changed != batch).flatten(1).any(dim=1).all()


def test_augmentation_is_seeded(batch):
    augment = BatchAugment()
    assert torch.equal(augment(batch, generator(1)), augment(batch, generator(1)))
    assert not torch.equal(augment(batch, generator(1)), augment(batch, generator(2)))


def test_augmentation_of_strength_zero_changes_nothing(batch):
    assert torch.equal(BatchAugment(0.0)(batch, generator()), batch)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_small_batches_are_augmented_as_well(batch, size):
    assert BatchAugment()(batch[:size], generator()).shape == (size, 1, 64, 128)


def test_a_negative_strength_is_refused():
    with pytest.raises(ValueError, match=">= 0"):
        BatchAugment(-1)


@pytest.mark.parametrize("choose", [torch.maximum, torch.minimum])
def test_strokes_grow_and_shrink_by_one_pixel_to_every_side(choose):
    ink, paper = (255.0, 0.0) if choose is torch.maximum else (0.0, 255.0)
    pixels = torch.full((1, 1, 5, 7), paper)
    pixels[..., 2, 3] = ink
    pixels[..., 0, 0] = ink
    expected = torch.full_like(pixels, paper)
    expected[..., 1:4, 2:5] = ink
    expected[..., :2, :2] = ink
    assert torch.equal(_extreme(pixels, choose), expected)
