"""What other packages bring: entry points by group and name, and modules to import."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from raytune_ocr.errors import ConfigurationError, unknown_name

MODELS = "raytune_ocr.models"
DATASETS = "raytune_ocr.datasets"

Kind = TypeVar("Kind")


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


class Registry(Generic[Kind]):
    """A mapping from names to classes, which are imported when they are asked for.

    Args:
        what: the kind of thing in a word, for messages.
        group: the group of entry points under which other packages offer more.
        homes: by name `module:Class`.
    """

    def __init__(self, what: str, group: str, homes: Mapping[str, str]) -> None:
        self.what = what
        self.group = group
        self._homes = dict(homes)

    def names(self) -> list[str]:
        """Every name that there is: those of this package, then those of others."""
        return list(dict.fromkeys([*self._homes, *plugin_names(self.group)]))

    def __getitem__(self, name: str) -> Kind:
        """The class of that name.

        Raises:
            ConfigurationError: for an unknown name, or a plugin that cannot be imported.
        """
        if name in self._homes:
            module, _, attribute = self._homes[name].partition(":")
            found: Kind = getattr(importlib.import_module(module), attribute)
            return found
        plugin: Kind | None = load_plugin(self.group, name)
        if plugin is None:
            raise ConfigurationError(unknown_name(self.what, name, self.names()))
        return plugin


def unknown_keywords(factory: Callable[..., Any], keywords: Iterable[str]) -> str:
    """Which of `keywords` a registered factory does not take, in words; "" where it takes all."""
    named = inspect.signature(factory).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in named):
        return ""
    known = [parameter.name for parameter in named]
    return "; ".join(unknown_name("option", key, known) for key in keywords if key not in known)


def check_trusted(asked: Iterable[str], trusted: Iterable[str], source: str) -> None:
    """Raises ConfigurationError where `source` asks for modules that nobody here has named.

    Importing a module runs its code, so a file that others wrote does not decide on it.

    Args:
        asked: names of modules in `source`.
        trusted: names that the command line and the YAML give; what is imported already is too.
        source: the file, for the message.
    """
    if others := [name for name in asked if name not in {*trusted, *sys.modules}]:
        way = " ".join(f"--import {name}" for name in others)
        raise ConfigurationError(
            f"{source}: needs modules that are imported only where the command line or the YAML "
            f"names them, since that runs their code: {', '.join(others)}; if you trust them: {way}"
        )


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
