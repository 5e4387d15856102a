"""Models by name: the presets, and models that a user registers."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import nn

from raytune_ocr.config.training_config import DEFAULT_MODEL_CONFIG_PATH
from raytune_ocr.config.yaml_files import load_yaml
from raytune_ocr.errors import ModelCreationError, unknown_name
from raytune_ocr.models.presets import ALIASES, PRESETS, RULES, Architecture
from raytune_ocr.models.readers import READERS, Reader
from raytune_ocr.plugins import MODELS, load_plugin, plugin_names, unknown_keywords
from raytune_ocr.vocabulary import (
    DEFAULT_CHAR_TO_IDX,
    MAX_DIGITS,
    SEQUENCE_LENGTH,
    VOCAB_SIZE,
)

STAND_INS = {"mynet": "image_classifier"}  # until somebody registers a model of that name

Factory = TypeVar("Factory", bound=Callable[..., nn.Module])


class ModelRegistry:
    """A mapping from names to factories of models, the presets included.

    >>> @ModelRegistry.register("mynet")
    ... class MyNet(nn.Module): ...
    >>> model = ModelRegistry.create("mynet", num_classes=10)
    """

    _factories: ClassVar[dict[str, Callable[..., nn.Module]]] = {}

    @classmethod
    def register(cls, name: str) -> Callable[[Factory], Factory]:
        """Decorate a class or function that builds a model; it is returned unchanged.

        Raises:
            ModelCreationError: another model has the name.
        """

        def add(factory: Factory) -> Factory:
            if name in PRESETS or name in ALIASES or cls._taken(name, factory):
                raise ModelCreationError(f"a model named {name!r} is registered already")
            cls._factories[name] = factory
            return factory

        return add

    @classmethod
    def _taken(cls, name: str, factory: Callable[..., nn.Module]) -> bool:
        """Whether `name` belongs to another factory; a module may be imported twice."""
        there = cls._factories.get(name, factory)
        return _home(there) != _home(factory)

    @classmethod
    def create(cls, name: str, **kwargs: Any) -> nn.Module:
        """Build the model `name`; every keyword is passed on.

        Raises:
            ModelCreationError: for an unknown name, or keywords that it does not take.
        """
        factory = cls.factory(name)
        try:
            inspect.signature(factory).bind(**kwargs)
        except TypeError as error:
            raise ModelCreationError(f"model {name!r}: {error}") from None
        model = factory(**kwargs)
        vars(model)["model_config"] = {"name": name, **kwargs}  # goes into its checkpoints
        return model

    @classmethod
    def names(cls) -> list[str]:
        """Return all names, the presets first, without aliases."""
        return list(dict.fromkeys([*PRESETS, *cls._factories, *plugin_names(MODELS)]))

    @classmethod
    def factory(cls, name: str) -> Callable[..., nn.Module]:
        """Return the factory of the model `name`.

        Raises:
            ModelCreationError: an unknown name; suggests the nearest one.
        """
        if ALIASES.get(name, name) in PRESETS:
            return partial(_create_preset, ALIASES.get(name, name))
        if name in cls._factories:
            return cls._factories[name]
        found = load_plugin(MODELS, name)
        if callable(found):
            return cls._factories.setdefault(name, found)
        if name in STAND_INS:
            return cls.factory(STAND_INS[name])
        raise ModelCreationError(unknown_name("model", name, [*cls.names(), *ALIASES]))


def create_model(
    name: str,
    vocab_size: int = VOCAB_SIZE,
    max_sequence_length: int = SEQUENCE_LENGTH,
    config_path: str | os.PathLike[str] | None = None,
    **overrides: Any,
) -> Any:
    """The model `name`: a preset as a `Reader`, or whatever was registered under that name.

    Settings are taken from the preset, then the file, then the keywords; the last one wins.
    A registered model is given those of the four arguments that its signature names.

    Args:
        name: a name of `ModelRegistry.names()`, or the alias `ctc`.
        vocab_size: classes; the characters of the vocabulary, at least.
        max_sequence_length: positions an attention reader answers, >= 9.
        config_path: YAML of architecture settings: `setting: value` for every model, or
            `model: {setting: value}` for one. The default path may be absent.
        **overrides: architecture settings, see `presets.Architecture`.

    Raises:
        ModelCreationError: for an unknown name or setting, or a value that breaks its rule.
        ConfigurationError: for a file that is named but absent, or no YAML.
    """
    arguments = {
        "vocab_size": vocab_size,
        "max_sequence_length": max_sequence_length,
        "config_path": config_path,
    }
    named = inspect.signature(ModelRegistry.factory(name)).parameters
    taken = {key: value for key, value in arguments.items() if key in named}
    return ModelRegistry.create(name, **taken, **overrides)


def check_settings(
    name: str, settings: Mapping[str, Any], config_path: str | os.PathLike[str] | None = None
) -> None:
    """Check that the model `name` takes these settings, as far as its signature shows.

    Raises:
        ModelCreationError, ConfigurationError: as `create_model` does.
    """
    factory = ModelRegistry.factory(name)
    preset = ALIASES.get(name, name)
    if preset in PRESETS:
        _architecture(preset, config_path, settings)
    elif unknown := unknown_keywords(factory, settings):
        raise ModelCreationError(f"model {name!r}: {unknown}")


def parameter_count(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def _create_preset(
    preset: str,
    /,
    vocab_size: int = VOCAB_SIZE,
    max_sequence_length: int = SEQUENCE_LENGTH,
    config_path: str | os.PathLike[str] | None = None,
    **overrides: Any,
) -> Reader:
    _check_sizes(preset, vocab_size, max_sequence_length)
    architecture = _architecture(preset, config_path, overrides)
    return READERS[architecture.kind](architecture, vocab_size, max_sequence_length)


def _architecture(
    preset: str, config_path: str | os.PathLike[str] | None, overrides: Mapping[str, Any]
) -> Architecture:
    """The preset's own settings, then the file's, then the overrides; the last one wins."""
    of_file = PRESETS[preset].override(settings_of_file(preset, config_path), str(config_path))
    return of_file.override(overrides, f"model {preset!r}")


def _check_sizes(preset: str, vocab_size: int, max_sequence_length: int) -> None:
    least = len(DEFAULT_CHAR_TO_IDX)
    if vocab_size < least:
        raise ModelCreationError(
            f"model {preset!r}: vocab_size: must be >= {least}, one class for every character "
            f"and special token, got {vocab_size}"
        )
    if max_sequence_length <= MAX_DIGITS:
        raise ModelCreationError(
            f"model {preset!r}: max_sequence_length: must be >= {SEQUENCE_LENGTH} "
            f"({MAX_DIGITS} digits and EOS), got {max_sequence_length}"
        )


def settings_of_file(name: str, path: str | os.PathLike[str] | None) -> dict[str, Any]:
    """Settings that the file at `path` has for the preset `name`; every key of it is checked.

    Nothing without a path, where the default one is absent, and for models that are no preset.

    Raises:
        ModelCreationError: for unknown settings, or values that break their rules.
        ConfigurationError: for a file that is named but absent, or no YAML.
    """
    preset = ALIASES.get(name, name)
    if preset not in PRESETS or path is None or not str(path):
        return {}
    if str(path) == DEFAULT_MODEL_CONFIG_PATH and not Path(path).exists():
        return {}
    content = load_yaml(path)
    names = {*PRESETS, *ALIASES}
    unknown = [key for key in content if key not in RULES and key not in names]
    if unknown:
        known = [*RULES, *names]
        lines = [f"{path}: {unknown_name('model setting', key, known)}" for key in unknown]
        raise ModelCreationError("\n".join(lines))
    settings = {key: value for key, value in content.items() if key in RULES}
    for key, section in content.items():
        if key not in names:
            continue
        if not isinstance(section, dict):
            raise ModelCreationError(f"{path}: {key}: must be a mapping, got {section!r}")
        PRESETS[ALIASES.get(key, key)].override(section, f"{path}: {key}")
        if ALIASES.get(key, key) == preset:
            settings.update(section)
    return settings


def _home(factory: Callable[..., Any]) -> tuple[str, str]:
    return (getattr(factory, "__module__", ""), getattr(factory, "__qualname__", repr(factory)))
