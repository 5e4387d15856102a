"""What other packages bring: entry points by group and name, and modules to import."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from raytune_ocr.errors import ConfigurationError, unknown_name

MODELS = "raytune_ocr.models"
DATASETS = "raytune_ocr.datasets"


def plugin_names(group: str) -> list[str]:
    """Names that installed packages offer under `group`."""
    return sorted({point.name for point in entry_points(group=group)})


def load_plugin(group: str, name: str) -> Any:
    """What an installed package offers as `name` under `group`; None when none does.

    Raises:
        ConfigurationError: when it is offered but cannot be imported.
    """
    for point in entry_points(group=group, name=name):
        try:
            return point.load()
        except Exception as error:  # whatever a foreign module raises while it is imported
            raise ConfigurationError(
                f"entry point {name!r} of {group} ({point.value}): cannot be loaded: {error!r}"
            ) from error
    return None


def unknown_keywords(factory: Callable[..., Any], keywords: Iterable[str]) -> str:
    """Which of `keywords` a registered factory does not take, in words; "" where it takes all."""
    named = inspect.signature(factory).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in named):
        return ""
    known = [parameter.name for parameter in named]
    return "; ".join(unknown_name("option", key, known) for key in keywords if key not in known)


def import_modules(names: Iterable[str]) -> None:
    """Import modules for what they register; the working folder is searched too.

    Raises:
        ConfigurationError: for a module that is not there or raises.
    """
    folder = str(Path.cwd())
    for name in names:
        if folder not in sys.path and "" not in sys.path:
            sys.path.insert(0, folder)
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever a foreign module raises while it is imported
            raise ConfigurationError(f"import {name!r}: cannot be imported: {error!r}") from error
