"""Training batches composed on the fly: no two epochs have the same image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from raytune_ocr.data.loaders import single_is_left
from raytune_ocr.data.synthesis.composer import SyntheticComposer
from raytune_ocr.data.synthesis.glyphs import GlyphSheet
from raytune_ocr.vocabulary import MAX_DIGITS, SEQUENCE_LENGTH, encode

EASY_IMAGES = 6000  # at the start; without them CTC stays on its blank plateau for longer
EASY_LENGTHS = (1, 3)
COMPOSED_AT_ONCE = 2048


class ComposedBatches(IterableDataset[tuple[Tensor, Tensor]]):
    """Composes batches `(images uint8 [B, 1, H, W], targets int64 [B, L])`.

    An epoch's images depend only on the seed and its number, so that a resumed run sees the same
    ones. The first images of a training are short strings.

    Args:
        images: per epoch; one less if the last batch would have a single one.
        variety: of `SyntheticComposer`.
    """

    def __init__(
        self, sheet: GlyphSheet, images: int, batch_size: int, seed: int = 0, variety: float = 0.6
    ) -> None:
        self.sheet = sheet
        self.images = images - single_is_left(images, batch_size)
        self.batch_size = batch_size
        self.seed = seed
        self.variety = variety
        self.epoch = 0
        self._composer: SyntheticComposer | None = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the images of that epoch, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.images // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self._composer is None:  # made in the process that uses it
            self._composer = SyntheticComposer(self.sheet, self.seed, variety=self.variety)
        composer = self._composer
        composer.restart((self.seed, self.epoch))
        at_once = max(1, COMPOSED_AT_ONCE // self.batch_size) * self.batch_size
        for start in range(0, self.images, at_once):
            easy = self.epoch == 0 and start < min(EASY_IMAGES, self.images // 2)
            composer.lengths = EASY_LENGTHS if easy else (1, MAX_DIGITS)
            images, texts = composer.batch(min(at_once, self.images - start))
            targets = encoded(texts)
            for first in range(0, len(images), self.batch_size):
                part = slice(first, first + self.batch_size)
                yield torch.from_numpy(images[part, None]), torch.from_numpy(targets[part])

    def loader(self) -> DataLoader:
        """Return a batch for a trainer."""
        return DataLoader(self, batch_size=None)


def encoded(texts: Sequence[str]) -> np.ndarray:
    """Targets int64 [N, L] of labels."""
    return np.array([encode(text, SEQUENCE_LENGTH) for text in texts], dtype=np.int64)
