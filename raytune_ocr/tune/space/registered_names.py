"""Check the models and datasets that experiments name, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from raytune_ocr.data import DatasetRegistry
from raytune_ocr.errors import ConfigurationError, DataLoaderError, ModelCreationError
from raytune_ocr.models import ModelRegistry, check_settings
from raytune_ocr.plugins import import_modules
from raytune_ocr.tasks.function import function_named
from raytune_ocr.tasks.registry import task_named
from raytune_ocr.tune.space.sections import dotted

NAMED = {"model_name": ("model", "name"), "dataset_name": ("data", "name")}
"""Fields that name a registered class, and their YAML paths."""


def import_problems(imports: Sequence[str], place: str) -> list[str]:
    """Import the modules that register models and datasets; return the problems."""
    try:
        import_modules(imports)
    except ConfigurationError as error:
        return [f"{place}: {error}"]
    return []


def name_problems(field: str, names: Iterable[Any], place: str) -> list[str]:
    """Return a message for each unregistered name, with the known ones.

    Args:
        field: a key of `NAMED`.
        names: values of that field; other types than text break another rule.
        place: their path in the file.
    """
    find = ModelRegistry.factory if field == "model_name" else DatasetRegistry.factory
    texts = [name for name in names if isinstance(name, str)]
    return [line for name in texts for line in _problems(place, find, name)]


def task_problems(fields: Mapping[str, Any], place: str) -> list[str]:
    """Return problems of the task or function that an experiment names."""
    finders: dict[str, Callable[..., Any]] = {"task": task_named, "trainable": function_named}
    return [
        line
        for key, find in finders.items()
        if fields.get(key)
        for line in _problems(dotted(place, key), find, fields[key])
    ]


def option_problems(field: str, name: str, fields: Mapping[str, Any], place: str) -> list[str]:
    """Return options that the named class does not take, as far as its signature shows.

    Args:
        field: a key of `NAMED`.
        name: its value, which is registered.
        fields: of the experiment, options included.
        place: of the experiment.
    """
    if field == "dataset_name":
        options = fields.get("dataset_options", {})
        return _problems(f"{place}.data.options", DatasetRegistry.check, name, options)
    options, path = fields.get("model_options", {}), fields.get("model_config_path")
    return _problems(f"{place}.model.options", check_settings, name, options, path)


def _problems(place: str, find: Callable[..., Any], *arguments: Any) -> list[str]:
    try:
        find(*arguments)
    except (ConfigurationError, DataLoaderError, ModelCreationError) as error:
        return [f"{place}: {line}" for line in str(error).splitlines()]
    return []
