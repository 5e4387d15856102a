"""The base of the package's datasets: `khmer_digits`, `image_folder`, `mnist`."""

from __future__ import annotations

import hashlib
import logging
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data.augment import BatchAugment
from raytune_ocr.data.loaders import memory_loader
from raytune_ocr.data.registry import Augment, BaseDataset

logger = logging.getLogger(__name__)

TRANSFORM_BATCH = 256


class LabelledImages(NamedTuple):
    """One split: `images` uint8 [N, C, H, W], `labels` int64 [N] or [N, L]."""

    images: np.ndarray
    labels: np.ndarray


def digest_of(arrays: Iterable[np.ndarray]) -> str:
    """Return a hash of the shapes, types and bytes of arrays, in order."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class ImageTensors(Dataset):
    """Batches from arrays in memory; only the batch is copied."""

    def __init__(self, split: LabelledImages) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """`(image uint8 [C, H, W], label)`."""
        images, labels = self.__getitems__([index])
        return images[0], labels[0]

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """`(images uint8 [B, C, H, W], labels int64 [B, ...])`."""
        images, labels = self.split
        return torch.from_numpy(images[indices]), torch.from_numpy(labels[indices])


class ImageDataset(BaseDataset):
    """Images in memory, read once.

    Args:
        seed: of the training order and the transforms.
        augmentation: transform training images when the loaders are made, and again at each call
            of `reapply_transforms`.
    """

    def __init__(self, seed: int = 0, augmentation: bool = False) -> None:
        self.seed = seed
        self.augmentation = augmentation
        self._train: ImageTensors | None = None

    @abstractmethod
    def _read(self) -> tuple[LabelledImages, LabelledImages]:
        """The training and the validation split."""

    @cached_property
    def arrays(self) -> tuple[LabelledImages, LabelledImages]:
        """The training and the validation split as they were read."""
        return self._read()

    def prepare(self) -> None:
        _ = self.arrays

    def fingerprint(self) -> str:
        names = str(self.model_facts().get("class_names", "")).encode()
        arrays = [array for split in self.arrays for array in split]
        return digest_of([*arrays, np.frombuffer(names, np.uint8)])

    def model_facts(self) -> dict[str, Any]:
        return {"image_shape": list(self.arrays[0].images.shape[1:])}

    def augment(self) -> Augment | None:
        return BatchAugment(negatives=False)

    def get_dataloaders(self, batch_size: int = 32) -> tuple[DataLoader, DataLoader]:
        """Loaders of `(images uint8 [B, C, H, W], labels int64)`."""
        train, val = self.arrays
        self._train = ImageTensors(train)
        self.reapply_transforms(0)
        return (
            memory_loader(self._train, batch_size, self.seed),
            memory_loader(ImageTensors(val), batch_size, shuffle=False),
        )

    def loaders(self, config: TrainingConfig) -> tuple[DataLoader, DataLoader]:
        """Return loaders without transforms: the loop augments each batch."""
        train, val = self.arrays
        return (
            memory_loader(ImageTensors(train), config.batch_size, config.seed),
            memory_loader(ImageTensors(val), config.batch_size, shuffle=False),
        )

    def reapply_transforms(self, epoch: int) -> None:
        augment = self.augment()
        if self._train is None or not self.augmentation or augment is None:
            return
        images, labels = self.arrays[0]
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        changed = np.empty_like(images)
        for start in range(0, len(images), TRANSFORM_BATCH):
            part = slice(start, start + TRANSFORM_BATCH)
            changed[part] = augment(torch.from_numpy(images[part].copy()), generator).numpy()
        self._train.split = LabelledImages(changed, labels)
