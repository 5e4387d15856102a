"""A node that is about to be taken away, as spot machines are: its trials go on elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from raytune_ocr.errors import NodeDrainedError
from raytune_ocr.training.callbacks.base import Callback
from raytune_ocr.tune.execution.throttle import Throttle

LOOK_SECONDS = 1.0  # from one look at the notice to the next
SPARE_SECONDS = 5.0  # before the deadline, for the process to end
DRAINED = re.compile(rf"\b{NodeDrainedError.__name__}\b")  # Ray gives an error's text only


class DrainNotice(Callback):
    """Ends a trial's turn where its node is being drained.

    It ends after the epoch, with its state saved, or in the midst of one that would be lost anyway.

    Args:
        deadline: when the node is taken away, as `time.time()` counts; None: no notice has come.
    """

    watches_steps = True

    def __init__(self, deadline: Callable[[], float | None]) -> None:
        self._deadline = deadline
        self._throttle = Throttle(seconds=LOOK_SECONDS)

    def on_epoch_begin(self, trainer: Any, epoch: int) -> None:
        """The epoch before it is saved and reported."""
        if self._deadline() is not None:
            raise NodeDrainedError("the node is being drained")

    def on_step_end(self, trainer: Any, step: int, figures: Mapping[str, float]) -> None:
        """Looks every second."""
        if not self._throttle.ready():
            return
        with self._throttle.measured():
            end = self._deadline()
        if end is not None and time.time() >= end - SPARE_SECONDS:
            raise NodeDrainedError("the node is taken away before the epoch is over")
