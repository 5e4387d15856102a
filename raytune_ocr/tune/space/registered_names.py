"""Models and datasets that experiments name: whether there are such, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from raytune_ocr.errors import ConfigurationError, DataLoaderError, ModelCreationError
from raytune_ocr.plugins import import_modules
from raytune_ocr.tasks.function import function_named
from raytune_ocr.tasks.registry import task_named
from raytune_ocr.tune.space.sections import dotted

NAMED = {"model_name": ("model", "name"), "dataset_name": ("data", "name")}
"""Fields that name something registered, and where an experiment has them."""


def import_problems(imports: Sequence[str], place: str) -> list[str]:
    """What is wrong with modules that register models and datasets; they are imported."""
    try:
        import_modules(imports)
    except ConfigurationError as error:
        return [f"{place}: {error}"]
    return []


def name_problems(field: str, names: Iterable[Any], place: str) -> list[str]:
    """Those of `names` that nobody has registered, each with what there is.

    Args:
        field: a key of `NAMED`.
        names: values of that field; what is no text breaks another rule.
        place: where they were written.
    """
    from raytune_ocr.data import DatasetRegistry
    from raytune_ocr.models import ModelRegistry

    find = ModelRegistry.factory if field == "model_name" else DatasetRegistry.factory
    texts = [name for name in names if isinstance(name, str)]
    return [line for name in texts for line in _told(place, find, name)]


def task_problems(fields: Mapping[str, Any], place: str) -> list[str]:
    """What is wrong with a task that an experiment names, or with its function."""
    found = _told(dotted(place, "task"), task_named, fields["task"]) if fields.get("task") else []
    if fields.get("trainable"):
        found += _told(dotted(place, "trainable"), function_named, fields["trainable"])
    return found


def option_problems(field: str, name: str, fields: Mapping[str, Any], place: str) -> list[str]:
    """Options that what is named does not take, as far as that is known before it is built.

    Args:
        field: a key of `NAMED`.
        name: its value, which is registered.
        fields: of the experiment, options included.
        place: of the experiment.
    """
    from raytune_ocr.data import DatasetRegistry
    from raytune_ocr.models import check_settings

    if field == "dataset_name":
        options = fields.get("dataset_options", {})
        return _told(f"{place}.data.options", DatasetRegistry.check, name, options)
    options, path = fields.get("model_options", {}), fields.get("model_config_path")
    return _told(f"{place}.model.options", check_settings, name, options, path)


def _told(place: str, find: Callable[..., Any], *arguments: Any) -> list[str]:
    try:
        find(*arguments)
    except (ConfigurationError, DataLoaderError, ModelCreationError) as error:
        return [f"{place}: {line}" for line in str(error).splitlines()]
    return []
