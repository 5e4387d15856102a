import numpy as np
import pytest
import torch

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import (
    EpochSampler,
    KhmerDigitsDataset,
    create_data_loaders,
    generate_dataset,
)
from tests.fixtures.readers import packed


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
