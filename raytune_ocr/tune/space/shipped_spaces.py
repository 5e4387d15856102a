"""Find the search spaces that the package ships, by name."""

from __future__ import annotations

import os
from pathlib import Path

from raytune_ocr.errors import ConfigurationNotFoundError, unknown_name


def find_space(name: str | os.PathLike[str]) -> Path:
    """Return the file of that path, or the shipped space of that name (`full`, `presets`, ...).

    Raises:
        ConfigurationNotFoundError: there is none; lists the shipped spaces.
    """
    path = Path(name)
    try:
        if path.exists() and not path.is_dir():  # a pipe is a file to read, too
            return path
    except (OSError, ValueError) as error:  # too long, or a NUL in it
        raise ConfigurationNotFoundError(f"{name!r}: not a valid file name: {error}") from None
    shipped = shipped_spaces()
    if str(name) in shipped:
        return shipped[str(name)]
    raise ConfigurationNotFoundError(
        f"{name}: no such configuration file, and {unknown_name('shipped space', name, shipped)}"
    )


def shipped_spaces() -> dict[str, Path]:
    """Return the search spaces of the installed package, or beside it in a checkout, by name."""
    package = Path(__file__).parents[2]
    for folder in (package / "search_spaces", package.parent / "search_spaces"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return {}
