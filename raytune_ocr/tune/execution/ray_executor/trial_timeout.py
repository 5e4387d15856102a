"""The end of a trial that takes too long: by itself between two steps, else from outside."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from raytune_ocr.errors import TrialTimeoutError
from raytune_ocr.training.callbacks.base import Callback

TRIAL_TIMEOUT = "trial_timeout"  # the stop reason
HANGING = 60.0  # seconds after its deadline until a trial that does no step is ended from outside


class Deadline(Callback):
    """Raises TrialTimeoutError between two steps once the time is over.

    Args:
        seconds: from now on.
    """

    watches_steps = True

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def on_step_end(self, trainer: Any, step: int, figures: Mapping[str, float]) -> None:
        """Called after each training step."""
        if time.monotonic() >= self.end:
            raise TrialTimeoutError("the trial has trained for as long as it may")


class Watch:
    """Which trials hang: they train beyond their deadlines, and their processes do not end them.

    It is kept in the driver: a process that is stopped, or in which C code holds the interpreter's
    lock, ends nothing, least of all itself.
    """

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}

    def begin(self, name: str, seconds: float | None) -> None:
        """A trial trains from now on, for so long; None: without end."""
        if seconds is not None:
            self._ends[name] = time.monotonic() + max(0.0, seconds) + HANGING

    def end(self, name: str) -> None:
        """It trains no more."""
        self._ends.pop(name, None)

    def hanging(self) -> list[str]:
        """Names of the trials that hang, each once."""
        now = time.monotonic()
        names = [name for name, end in self._ends.items() if now >= end]
        for name in names:
            del self._ends[name]
        return names
