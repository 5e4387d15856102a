"""Models and datasets that experiments name: whether there are such, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from raytune_ocr.errors import ConfigurationError, DataLoaderError, ModelCreationError
from raytune_ocr.plugins import import_modules

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
    problems = []
    for name in (name for name in names if isinstance(name, str)):
        try:
            find(name)
        except (ConfigurationError, DataLoaderError, ModelCreationError) as error:
            problems.append(f"{place}: {error}")
    return problems
