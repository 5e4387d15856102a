"""Datasets and loaders over packed splits; a batch is one indexing operation."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data.packed import PackedSplit
from raytune_ocr.data.split_files import load_split

VALIDATION_BATCH = 128  # at least: without gradients there is room


class KhmerDigitsDataset(Dataset):
    """Images and targets of one split.

    Args:
        metadata_path: anything that `load_split` reads.
        split: its name.
        num_workers: threads that decode images.

    Raises:
        DataLoaderError: when files or labels break a rule.
    """

    def __init__(
        self,
        metadata_path: str | os.PathLike[str],
        split: str = "train",
        num_workers: int = 0,
        allow_outside: bool = False,
    ) -> None:
        self.packed = load_split(
            metadata_path, split, allow_outside=allow_outside, num_workers=num_workers
        )

    @classmethod
    def from_packed(cls, packed: PackedSplit) -> KhmerDigitsDataset:
        """A dataset over images that are in memory already; nothing is copied."""
        dataset = cls.__new__(cls)
        dataset.packed = packed
        return dataset

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """`(image uint8 [1, H, W], target int64 [L])`."""
        images, targets = self.__getitems__([index])
        return images[0], targets[0]

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """`(images uint8 [B, 1, H, W], targets int64 [B, L])`, copied out of the packed arrays."""
        images = torch.from_numpy(self.packed.images[indices])
        return images.unsqueeze(1), torch.from_numpy(self.packed.targets[indices])


class EpochSampler(Sampler[int]):
    """Yields every index once, in an order that depends only on the seed and the epoch."""

    def __init__(self, size: int, seed: int = 0, shuffle: bool = True) -> None:
        self.size = size
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of that epoch, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        if not self.shuffle:
            return iter(range(self.size))
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        return iter(order.tolist())


def _as_fetched(batch: Any) -> Any:
    return batch


def create_data_loaders(
    config: TrainingConfig | None = None,
    *,
    splits: Mapping[str, PackedSplit] | None = None,
    **settings: Any,
) -> tuple[DataLoader, DataLoader]:
    """The training and the validation loader.

    Args:
        config: names the data, the splits, the batch size and the seed.
        splits: packed data by split name; read from `config.metadata_path` if absent.
        **settings: fields of `TrainingConfig` (`metadata_path`, `batch_size`, `num_workers`, ...)
            on top of `config`. `num_workers` is how many threads decode image files; batches
            come from memory and need no worker processes.

    Raises:
        ConfigurationError, DataLoaderError.
    """
    values = {**(config.to_dict() if config is not None else {}), **settings}
    config = TrainingConfig.from_dict(values, environment=None if config is None else {})
    loaders = []
    for name, shuffle in ((config.train_split, True), (config.val_split, False)):
        if splits is not None and name in splits:
            dataset = KhmerDigitsDataset.from_packed(splits[name])
        else:
            dataset = KhmerDigitsDataset(config.metadata_path, name, config.num_workers)
        loaders.append(
            memory_loader(dataset, config.batch_size, config.seed, shuffle, config.pin_memory)
        )
    return loaders[0], loaders[1]


def single_is_left(size: int, batch_size: int) -> bool:
    """Whether the last of several batches has one sample, with which batch norm cannot train."""
    return size > batch_size and size % batch_size == 1


def memory_loader(
    dataset: Dataset, batch_size: int, seed: int = 0, shuffle: bool = True, pin_memory: bool = False
) -> DataLoader:
    """Batches of a dataset that is in memory; worker processes would only copy it.

    A last batch of a single sample is dropped in shuffled epochs; it is another sample each time.
    """
    size = len(dataset)  # type: ignore[arg-type]
    return DataLoader(
        dataset,
        batch_size=batch_size if shuffle else max(batch_size, VALIDATION_BATCH),
        sampler=EpochSampler(size, seed, shuffle),
        drop_last=shuffle and single_is_left(size, batch_size),
        collate_fn=_as_fetched,
        pin_memory=pin_memory and torch.cuda.is_available(),
    )
