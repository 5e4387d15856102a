"""Show progress bars on a terminal's standard error, and format durations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def progress(items: Iterable[Item], total: int, description: str) -> Iterable[Item]:
    """Yield `items` with a progress bar of `total`."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, description, total, console=console, disable=not console.is_terminal)


def clock(seconds: float) -> str:
    """Format a duration as MM:SS, from an hour on as HH:MM:SS; a day and an hour are 25:00:00."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"
