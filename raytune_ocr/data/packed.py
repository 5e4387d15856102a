"""A split in memory: all images in one array that many trials share read-only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raytune_ocr.errors import DataLoaderError
from raytune_ocr.vocabulary import IMAGE_HEIGHT, IMAGE_WIDTH, NUM_DIGITS, decode


@dataclass(frozen=True)
class PackedSplit:
    """Decoded images and their targets.

    Attributes:
        images: uint8 [N, H, W], 8 KB an image.
        targets: int64 [N, L], digits and EOS to fill.
        name: of the split, for messages.

    Raises:
        DataLoaderError: it is empty or the shapes do not match.
    """

    images: np.ndarray
    targets: np.ndarray
    name: str = "split"

    def __post_init__(self) -> None:
        if len(self.images) == 0:
            raise DataLoaderError(f"{self.name}: must have at least one image, got none")
        shape = (len(self.targets), IMAGE_HEIGHT, IMAGE_WIDTH)
        if self.images.shape != shape or self.images.dtype != np.uint8:
            raise DataLoaderError(
                f"{self.name}: images must be uint8 of shape {shape}, got {self.images.dtype} of "
                f"shape {self.images.shape}"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def digits(self) -> int:
        """The number of digits in all labels."""
        return int((self.targets < NUM_DIGITS).sum())

    @property
    def texts(self) -> list[str]:
        """The labels of all images."""
        return [decode(ids) for ids in self.targets.tolist()]
