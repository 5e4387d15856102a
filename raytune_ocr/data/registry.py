"""Datasets by name: the ones that come with the package, and whatever a user registers."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch.utils.data import DataLoader

from raytune_ocr.config import DEFAULT_METADATA_PATH
from raytune_ocr.data.dataset import create_data_loaders
from raytune_ocr.data.generator import ensure_default_data
from raytune_ocr.data.packed import PackedSplit
from raytune_ocr.data.readers import load_splits
from raytune_ocr.errors import DataLoaderError, unknown_name

Factory = TypeVar("Factory", bound=Callable[..., Any])


class BaseDataset(ABC):
    """What a registered dataset can do: give its two loaders. Nothing here is about digits."""

    @abstractmethod
    def get_dataloaders(self, batch_size: int = 32) -> tuple[DataLoader, DataLoader]:
        """The training and the validation loader."""


class DatasetRegistry:
    """A mapping from names to what builds a dataset.

    >>> @DatasetRegistry.register("mine")
    ... class Mine(BaseDataset): ...
    >>> train_loader, val_loader = DatasetRegistry.create("mine").get_dataloaders(batch_size=64)
    """

    _factories: ClassVar[dict[str, Callable[..., Any]]] = {}

    @classmethod
    def register(cls, name: str) -> Callable[[Factory], Factory]:
        """Decorate a class or function that builds a dataset; it is returned unchanged.

        Raises:
            DataLoaderError: if the name is taken by something else.
        """

        def add(factory: Factory) -> Factory:
            there = cls._factories.get(name, factory)
            if _home(there) != _home(factory):  # a module may be imported twice
                raise DataLoaderError(f"a dataset named {name!r} is registered already")
            cls._factories[name] = factory
            return factory

        return add

    @classmethod
    def create(cls, name: str, **settings: Any) -> Any:
        """Build the dataset of that name; `settings` go to what was registered.

        Raises:
            DataLoaderError: for an unknown name, or as the dataset itself does.
        """
        if name not in cls._factories:
            raise DataLoaderError(unknown_name("dataset", name, cls._factories))
        return cls._factories[name](**settings)

    @classmethod
    def names(cls) -> list[str]:
        """Every name that `create` knows, sorted."""
        return sorted(cls._factories)


def _home(factory: Callable[..., Any]) -> tuple[Any, ...]:
    """Where a class or function is defined; the object itself where it does not say."""
    module = getattr(factory, "__module__", None)
    name = getattr(factory, "__qualname__", None)
    return (module, name) if name else (factory,)


@DatasetRegistry.register("image_folder")
class ImageFolder(BaseDataset):
    """Labelled images on disk, in any layout that `load_split` reads.

    Args:
        path: a folder per class, a `labels.csv`, a `metadata.yaml`, or a folder of either.
        seed: of the training order.
        num_workers: threads that decode images.
        allow_outside: accept image paths that leave the data's folder and the working one.

    Raises:
        DataLoaderError: from `splits` and `get_dataloaders`, when files or labels break a rule.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        seed: int = 0,
        num_workers: int = 0,
        allow_outside: bool = False,
    ) -> None:
        self.path = Path(path)
        self.seed = seed
        self.num_workers = num_workers
        self.allow_outside = allow_outside

    @cached_property
    def splits(self) -> dict[str, PackedSplit]:
        """The packed splits `train` and `val`, read once."""
        return load_splits(
            self.path, allow_outside=self.allow_outside, num_workers=self.num_workers
        )

    def get_dataloaders(self, batch_size: int = 32) -> tuple[DataLoader, DataLoader]:
        """Loaders of `(images uint8 [B, 1, H, W], targets int64 [B, L])`."""
        return create_data_loaders(splits=self.splits, batch_size=batch_size, seed=self.seed)


@DatasetRegistry.register("khmer_digits")
class KhmerDigits(ImageFolder):
    """The synthetic set; the default one is made where it is absent."""

    def __init__(
        self, path: str | os.PathLike[str] = DEFAULT_METADATA_PATH, **settings: Any
    ) -> None:
        super().__init__(path, **settings)

    @cached_property
    def splits(self) -> dict[str, PackedSplit]:
        """The packed splits `train` and `val`, read once."""
        if self.path == Path(DEFAULT_METADATA_PATH):
            ensure_default_data(self.path)
        return load_splits(
            self.path, allow_outside=self.allow_outside, num_workers=self.num_workers
        )
