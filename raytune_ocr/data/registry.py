"""Datasets by name: the ones that come with the package, and whatever a user registers."""

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
    """What a registered dataset can do. Only `get_dataloaders` must be written."""

    @abstractmethod
    def get_dataloaders(self, batch_size: int = 32) -> tuple[DataLoader, DataLoader]:
        """The training and the validation loader; batches are `(inputs, labels)`."""

    def loaders(self, config: TrainingConfig) -> tuple[DataLoader, DataLoader]:
        """The same for a run that `config` describes."""
        return self.get_dataloaders(config.batch_size)

    def model_arguments(self) -> dict[str, Any]:
        """Keywords for a model of this data (`num_classes`), as far as its signature names them."""
        return {}

    def model_facts(self) -> dict[str, Any]:
        """What travels with a model of this data, so that it can be used without the data.

        `class_names`: in the order of their labels. `image_shape`: channels, height and width, if
        `images.to_pixels` of that shape makes a picture an input.
        """
        return {}

    def fingerprint(self) -> str:
        """Return a hash of the images, labels and splits; "" if the dataset cannot tell one.

        A run that is resumed refuses data with another one, wherever they lie.
        """
        return ""

    def augment(self) -> Augment | None:
        """What changes training batches `(inputs, generator) -> inputs`, if anything does."""
        return None

    def reapply_transforms(self, epoch: int) -> None:
        """Draw new random transforms of the training data; `epoch` (from 0) decides which."""

    def prepare(self) -> None:
        """Read everything into memory, once, before it is shared by many trials."""


class DatasetRegistry:
    """A mapping from names to what builds a dataset, entry points included.

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
        """Whether the dataset of that name takes these settings; raises as `create` does."""
        if unknown := unknown_keywords(cls.factory(name), settings):
            raise DataLoaderError(f"dataset {name!r}: {unknown}")

    @classmethod
    def factory(cls, name: str) -> Callable[..., Any]:
        """What builds the dataset `name`.

        Raises:
            DataLoaderError: for an unknown name; says the nearest one.
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
        """Every name that `create` knows, sorted."""
        return sorted({*cls._factories, *plugin_names(DATASETS)})


def create_dataset(config: TrainingConfig, *, allow_outside: bool = False) -> Any:
    """The dataset that `config` names, given what of the config its signature names.

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
    """Where a class or function is defined; the object itself where it does not say."""
    module = getattr(factory, "__module__", None)
    name = getattr(factory, "__qualname__", None)
    return (module, name) if name else (factory,)
