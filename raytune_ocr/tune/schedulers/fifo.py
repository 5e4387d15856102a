"""No early stopping: every trial trains to its end."""

from __future__ import annotations

from typing import ClassVar

from raytune_ocr.tune.schedulers.base import Scheduler


class FIFO(Scheduler):
    """Trains all trials in order, each to its end."""

    name: ClassVar[str] = "none"
    compares_trials: ClassVar[bool] = False
