import pytest
import torch

from raytune_ocr.data import (
    BatchAugment,
)
from raytune_ocr.data.augment import _extreme
from tests.fixtures.readers import packed


@pytest.fixture(scope="module")
def batch():
    return torch.from_numpy(packed(64).images).unsqueeze(1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


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
