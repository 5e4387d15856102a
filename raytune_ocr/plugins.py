"""Load plugins: entry points of installed packages, and modules to import."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from raytune_ocr.errors import ConfigurationError, unknown_name

MODELS = "raytune_ocr.models"
DATASETS = "raytune_ocr.datasets"

Kind = TypeVar("Kind")


def plugin_names(group: str) -> list[str]:
    """Return the names of the entry points in `group`."""
    return sorted({point.name for point in _points(group)})


def _points(group: str, **name: str) -> EntryPoints:
    path = tuple((folder, _changed(folder)) for folder in sys.path)
    found: EntryPoints = _installed(path).select(group=group, **name)
    return found


@lru_cache(maxsize=1)
def _installed(path: tuple[tuple[str, int], ...]) -> Any:
    """Return the entry points of all groups, which a start would else read 32 times, in 0.4 s.

    Args:
        path: `sys.path`, with the time of the last installation in each folder.
    """
    return entry_points()


def _changed(folder: str) -> int:
    """Return when a package was last installed in a folder."""
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return 0


def load_plugin(group: str, name: str) -> Any:
    """Return the entry point `name` of `group`; None if there is none.

    Raises:
        ConfigurationError: it cannot be imported.
    """
    for point in _points(group, name=name):
        try:
            return point.load()
        except Exception as error:  # whatever a foreign module raises while it is imported
            raise ConfigurationError(
                f"entry point {name!r} of {group} ({point.value}): cannot be loaded: {error!r}"
            ) from error
    return None


class Home(NamedTuple):
    """Where a class of a registry is.

    Attributes:
        path: `module:Class`.
        summary: what it does, for `--help`.
    """

    path: str
    summary: str = ""


class Registry(Generic[Kind]):
    """A mapping from names to classes, which are imported on first use.

    Args:
        what: the kind of class in a word, for messages.
        group: the group of entry points for classes of other packages.
        homes: the classes of this package by name.
    """

    def __init__(self, what: str, group: str, homes: Mapping[str, Home]) -> None:
        self.what = what
        self.group = group
        self._homes = dict(homes)

    def names(self) -> list[str]:
        """Return all names: those of this package, then those of plugins."""
        return list(dict.fromkeys([*self._homes, *plugin_names(self.group)]))

    def summary(self) -> str:
        """Return what each one does, in one line for `--help`."""
        return "; ".join(f"{name}: {home.summary}" for name, home in self._homes.items())

    def __getitem__(self, name: str) -> Kind:
        """Return the class of that name.

        Raises:
            ConfigurationError: for an unknown name, or a plugin that cannot be imported.
        """
        if name in self._homes:
            module, _, attribute = self._homes[name].path.partition(":")
            found: Kind = getattr(importlib.import_module(module), attribute)
            return found
        plugin: Kind | None = load_plugin(self.group, name)
        if plugin is None:
            raise ConfigurationError(unknown_name(self.what, name, self.names()))
        return plugin


def unknown_keywords(factory: Callable[..., Any], keywords: Iterable[str]) -> str:
    """Return the `keywords` that a factory does not take, in words; "" if it takes all."""
    named = inspect.signature(factory).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in named):
        return ""
    known = [parameter.name for parameter in named]
    return "; ".join(unknown_name("option", key, known) for key in keywords if key not in known)


def check_trusted(needed: Iterable[str], trusted: Iterable[str], source: str) -> None:
    """Raise ConfigurationError if `source` needs modules that the user has not named.

    Importing a module runs its code, so a file from someone else must not choose modules.

    Args:
        needed: names of modules in `source`.
        trusted: names from the command line and the YAML; imported modules are trusted too.
        source: the file, for the message.
    """
    if others := [name for name in needed if name not in {*trusted, *sys.modules}]:
        way = " ".join(f"--import {name}" for name in others)
        raise ConfigurationError(
            f"{source}: needs the modules {', '.join(others)}; importing runs their code, so the "
            f"command line or the YAML must name them; if you trust them: {way}"
        )


def import_modules(names: Iterable[str]) -> None:
    """Import modules that register classes; the working folder is searched too.

    Raises:
        ConfigurationError: a module does not exist or raises.
    """
    folder = str(Path.cwd())
    for name in names:
        if folder not in sys.path and "" not in sys.path:
            sys.path.insert(0, folder)
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever a foreign module raises while it is imported
            raise ConfigurationError(f"import {name!r}: cannot be imported: {error!r}") from error
