"""Stop trials on a node that is being drained (spot machines); they continue on other nodes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from raytune_ocr.errors import NodeDrainedError
from raytune_ocr.training.callbacks.base import Callback
from raytune_ocr.tune.execution.recording.throttle import Throttle

LOOK_SECONDS = 1.0  # between two checks of the notice
SPARE_SECONDS = 5.0  # before the deadline, for the process to end
DRAINED = re.compile(rf"\b{NodeDrainedError.__name__}\b")  # Ray gives an error's text only


class DrainNotice(Callback):
    """Stops a trial when its node is being drained.

    It stops after the epoch, with its state saved, or during an epoch that would be lost anyway.

    Args:
        deadline: when the node goes away, in `time.time()` seconds; None: it is not being drained.
    """

    watches_steps = True

    def __init__(self, deadline: Callable[[], float | None]) -> None:
        self._deadline = deadline
        self._throttle = Throttle(seconds=LOOK_SECONDS)

    def on_epoch_begin(self, trainer: Any, epoch: int) -> None:
        """Stop here: the epoch before is saved and reported."""
        if self._deadline() is not None:
            raise NodeDrainedError("the node is being drained")

    def on_step_end(self, trainer: Any, step: int, figures: Mapping[str, float]) -> None:
        """Check the notice every second."""
        if not self._throttle.ready():
            return
        with self._throttle.measured():
            end = self._deadline()
        if end is not None and time.time() >= end - SPARE_SECONDS:
            raise NodeDrainedError("the node goes away before the epoch is over")
