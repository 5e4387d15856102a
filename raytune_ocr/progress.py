"""A progress bar on a terminal's standard error; nothing elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def progress(items: Iterable[Item], total: int, description: str) -> Iterable[Item]:
    """`items`, with a bar that says how many of `total` went by."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, description, total, console=console, disable=not console.is_terminal)
