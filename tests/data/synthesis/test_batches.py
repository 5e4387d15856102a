import torch

from raytune_ocr.data.synthesis.batches import EASY_IMAGES, ComposedBatches
from raytune_ocr.data.synthesis.glyphs import GlyphSheet
from raytune_ocr.vocabulary import decode


def batches(images=100, batch_size=32, seed=0, epoch=0):
    composed = ComposedBatches(GlyphSheet.load_bundled(), images, batch_size, seed)
    composed.set_epoch(epoch)
    return list(composed)


def test_an_epoch_has_as_many_images_as_asked_for_in_batches():
    found = batches(100)
    assert [len(images) for images, _ in found] == [32, 32, 32, 4]
    images, targets = found[0]
    assert (images.shape, images.dtype) == ((32, 1, 64, 128), torch.uint8)
    assert (targets.shape, targets.dtype) == ((32, 9), torch.int64)


def test_an_image_that_would_be_a_batch_of_its_own_is_not_made():
    assert [len(images) for images, _ in batches(33)] == [32]
    assert len(ComposedBatches(GlyphSheet.load_bundled(), 33, 32)) == 1
    assert [len(images) for images, _ in batches(3, 1)] == [1, 1, 1]


def test_an_epoch_is_the_same_every_time_and_another_one_is_another():
    composed = ComposedBatches(GlyphSheet.load_bundled(), 64, 64)
    seen = []
    for epoch in (3, 4, 3):
        composed.set_epoch(epoch)
        seen.append(next(iter(composed))[0])
    alone = batches(64, 64, epoch=3)[0][0]
    assert torch.equal(seen[0], seen[2]) and torch.equal(seen[0], alone)
    assert not torch.equal(seen[0], seen[1])


def test_the_first_images_of_all_are_short_strings():
    lengths = [len(decode(ids)) for _, t in batches(3 * EASY_IMAGES, 512) for ids in t.tolist()]
    assert max(lengths[:EASY_IMAGES]) == 3
    assert max(lengths[EASY_IMAGES + 2048 :]) == 8
    later = [len(decode(ids)) for _, t in batches(2000, 512, epoch=1) for ids in t.tolist()]
    assert max(later) == 8
