"""End a trial at its timeout: by itself between two steps, else from the driver."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from raytune_ocr.errors import TrialTimeoutError
from raytune_ocr.training.callbacks.base import Callback

TRIAL_TIMEOUT = "trial_timeout"  # the stop reason
HANGING = 60.0  # seconds after the deadline until the driver kills a trial that does no step


class Deadline(Callback):
    """Raises TrialTimeoutError between two steps when the time is over.

    Args:
        seconds: from now on.
    """

    watches_steps = True

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def on_step_end(self, trainer: Any, step: int, figures: Mapping[str, float]) -> None:
        """Called after each training step."""
        if time.monotonic() >= self.end:
            raise TrialTimeoutError("the trial reached its timeout (--trial-timeout)")


class Watch:
    """Finds trials that hang: they run past their deadlines without ending themselves.

    It runs in the driver, because a stopped process, or one in which C code holds the GIL, cannot
    end itself.
    """

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}

    def begin(self, name: str, seconds: float | None) -> None:
        """Start the clock of a trial, with its seconds left; None: no limit."""
        if seconds is not None:
            self._ends[name] = time.monotonic() + max(0.0, seconds) + HANGING

    def end(self, name: str) -> None:
        """Stop the clock of a trial."""
        self._ends.pop(name, None)

    def hanging(self) -> list[str]:
        """Return the names of trials that hang, each once."""
        now = time.monotonic()
        names = [name for name, end in self._ends.items() if now >= end]
        for name in names:
            del self._ends[name]
        return names
