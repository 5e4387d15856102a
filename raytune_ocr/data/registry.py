"""Datasets by name: those of the package, and those that a user registers."""

from __future__ import annotations

import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from raytune_ocr.config.training_config import DEFAULT_METADATA_PATH, TrainingConfig
from raytune_ocr.errors import DataLoaderError, unknown_name
from raytune_ocr.plugins import DATASETS, load_plugin, plugin_names, unknown_keywords

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import DataLoader

Factory = TypeVar("Factory", bound=Callable[..., Any])
Augment = Callable[["Tensor", Any], "Tensor"]
PathLike = str | os.PathLike[str]


class BaseDataset(ABC):
    """The interface of datasets. Only `get_dataloaders` must be implemented."""

    @abstractmethod
    def get_dataloaders(self, batch_size: int = 32) -> tuple[DataLoader, DataLoader]:
        """Return the training and the validation loader; batches are `(inputs, labels)`."""

    def loaders(self, config: TrainingConfig) -> tuple[DataLoader, DataLoader]:
        """Return the loaders for a run with `config`."""
        return self.get_dataloaders(config.batch_size)

    def model_arguments(self) -> dict[str, Any]:
        """Return keywords for a model of this data (`num_classes`), used if in its signature."""
        return {}

    def model_facts(self) -> dict[str, Any]:
        """Return facts that a model stores, so that it can be used without the data.

        `class_names`: in the order of their labels. `image_shape`: channels, height and width, if
        `images.to_pixels` of that shape makes a picture an input.
        """
        return {}

    def fingerprint(self) -> str:
        """Return a hash of the images, labels and splits; "" if there is none.

        A resumed run refuses data with a different hash; the path may differ.
        """
        return ""

    def augment(self) -> Augment | None:
        """Return the augmentation of training batches, `(inputs, generator) -> inputs`, or None."""
        return None

    def reapply_transforms(self, epoch: int) -> None:
        """Draw new random transforms of the training data; `epoch` (from 0) decides which."""

    def prepare(self) -> None:
        """Read everything into memory, once, before it is shared by many trials."""


class DatasetRegistry:
    """A mapping from names to factories of datasets, entry points included.

    >>> @DatasetRegistry.register("mine")
    ... class Mine(BaseDataset): ...
    >>> train_loader, val_loader = DatasetRegistry.create("mine").get_dataloaders(batch_size=64)
    """

    _factories: ClassVar[dict[str, Callable[..., Any]]] = {}

    @classmethod
    def register(cls, name: str) -> Callable[[Factory], Factory]:
        """Decorate a class or function that builds a dataset; it is returned unchanged.

        Raises:
            DataLoaderError: another dataset has the name.
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
        """Build the dataset of that name with `settings` as keywords.

        Raises:
            DataLoaderError: for an unknown name or setting, or as the dataset itself does.
        """
        factory = cls.factory(name)
        try:
            inspect.signature(factory).bind(**settings)
        except TypeError as error:
            raise DataLoaderError(f"dataset {name!r}: {error}") from None
        return factory(**settings)

    @classmethod
    def check(cls, name: str, settings: Mapping[str, Any]) -> None:
        """Check that the dataset takes these settings; raise as `create` does."""
        if unknown := unknown_keywords(cls.factory(name), settings):
            raise DataLoaderError(f"dataset {name!r}: {unknown}")

    @classmethod
    def factory(cls, name: str) -> Callable[..., Any]:
        """Return the factory of the dataset `name`.

        Raises:
            DataLoaderError: an unknown name; suggests the nearest one.
        """
        if name not in cls._factories:
            found = load_plugin(DATASETS, name)
            if callable(found):
                cls._factories.setdefault(name, found)
        if name not in cls._factories:
            raise DataLoaderError(unknown_name("dataset", name, cls.names()))
        return cls._factories[name]

    @classmethod
    def names(cls) -> list[str]:
        """Return all known names, sorted."""
        return sorted({*cls._factories, *plugin_names(DATASETS)})


def create_dataset(config: TrainingConfig, *, allow_outside: bool = False) -> Any:
    """Build the dataset that `config` names, with the settings that its signature names.

    `path` (`metadata_path`), `train_split`, `val_split`, `num_workers`, `seed`, `augmentation`
    and `allow_outside` are passed where they are named; `dataset_options` always.

    Raises:
        DataLoaderError: for an unknown name or option.
    """
    offered: dict[str, Any] = {
        name: getattr(config, name)
        for name in ("train_split", "val_split", "num_workers", "seed", "augmentation")
    }
    offered["allow_outside"] = allow_outside
    if config.metadata_path != DEFAULT_METADATA_PATH:
        offered["path"] = config.metadata_path
    named = inspect.signature(DatasetRegistry.factory(config.dataset_name)).parameters
    taken = {name: value for name, value in offered.items() if name in named}
    return DatasetRegistry.create(config.dataset_name, **{**taken, **config.dataset_options})


def _home(factory: Callable[..., Any]) -> tuple[Any, ...]:
    """Return where a class or function is defined, or the object itself if unknown."""
    module = getattr(factory, "__module__", None)
    name = getattr(factory, "__qualname__", None)
    return (module, name) if name else (factory,)
