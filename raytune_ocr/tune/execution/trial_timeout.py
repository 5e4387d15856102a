"""The end of a trial that takes too long."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from raytune_ocr.errors import TrialTimeoutError
from raytune_ocr.training.callbacks.base import Callback

MARKER = "timed_out"  # in a trial's folder: its process was ended for that
HANGING = 60.0  # seconds after the deadline until a process that does no step is ended


class Deadline(Callback):
    """Raises TrialTimeoutError between two steps once the time is over.

    A process that hangs has no next step: it is ended from outside of the loop, and the marker in
    `folder` tells the next attempt why.

    Args:
        seconds: from now on.
        folder: of the trial.
        marked: is given the marker, for where the next attempt has another folder.
    """

    watches_steps = True

    def __init__(
        self, seconds: float, folder: Path, marked: Callable[[Path], None] = lambda marker: None
    ) -> None:
        self.end = time.monotonic() + seconds
        self.folder = folder
        self.marked = marked
        self._watchdog = threading.Timer(max(0.0, seconds) + HANGING, self._abandon)
        self._watchdog.daemon = True
        self._watchdog.start()

    def on_step_end(self, trainer: Any, step: int, figures: Mapping[str, float]) -> None:
        """Called after each training step."""
        if time.monotonic() >= self.end:
            raise TrialTimeoutError("the trial has trained for as long as it may")

    def cancel(self) -> None:
        """Training is over."""
        self._watchdog.cancel()

    def _abandon(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / MARKER).touch()
            threading.Timer(HANGING, os._exit, [1]).start()  # a storage may be what hangs
            self.marked(self.folder / MARKER)
        finally:
            os._exit(1)


def was_abandoned(folder: Path) -> bool:
    """Whether the process of the attempt before was ended at its deadline; told once."""
    try:
        (folder / MARKER).unlink()
    except FileNotFoundError:
        return False
    return True
