"""When a run has had enough: its time is over, or a trial is as good as was asked for."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raytune_ocr.config import mode_of

if TYPE_CHECKING:
    from raytune_ocr.tune.results import TrialRecord

TARGET_METRICS = {
    "character_accuracy": "val_char_accuracy",
    "sequence_accuracy": "val_seq_accuracy",
    "accuracy": "val_accuracy",
    **{
        name: name
        for name in (
            "val_char_accuracy",
            "val_seq_accuracy",
            "val_accuracy",
            "val_cer",
            "val_loss",
        )
    },
}
"""What `--target` may name, and the column of an epoch that it is compared with."""

TIME_BUDGET = "time_budget"
TARGET = "target"
CUT = (TIME_BUDGET, TARGET)
"""Stop reasons of trials that ended with the run, not for a reason of their own."""


@dataclass(frozen=True)
class Target:
    """A goal for the best epoch of any trial."""

    name: str
    value: float

    def reached(self, record: TrialRecord) -> bool:
        """Whether the trial's best epoch is as good."""
        metric = TARGET_METRICS[self.name]
        found = record.best.get(metric, math.nan)
        return bool(found <= self.value if mode_of(metric) == "min" else found >= self.value)

    def __str__(self) -> str:
        return f"{self.name}={self.value:g}"


class Budget:
    """What a run may spend; `reason` says what has ended it.

    Args:
        seconds: from `begin` on; None: without end.
        target: that ends the run when it is reached.
    """

    def __init__(self, seconds: float | None = None, target: Target | None = None) -> None:
        self.seconds = seconds
        self.target = target
        self.reason = ""
        self._end = math.inf

    def start(self, records: Iterable[TrialRecord]) -> None:
        """Nothing is spent yet, but what earlier trials have reached counts."""
        self.reason, self._end = "", math.inf
        for record in records:
            self.note(record)

    def begin(self) -> None:
        """Time runs from now on."""
        if self.seconds is not None:
            self._end = time.monotonic() + self.seconds

    def note(self, record: TrialRecord) -> None:
        """A trial has reported."""
        if self.target is not None and self.target.reached(record):
            self.reason = self.reason or TARGET

    def spent(self) -> bool:
        """Whether the search has to end."""
        return bool(self.reason) or self.out_of_time()

    def out_of_time(self) -> bool:
        """Whether all has to end, what confirms the search as well."""
        if time.monotonic() >= self._end:
            self.reason = TIME_BUDGET
            return True
        return False

    def cut(self, records: Iterable[TrialRecord]) -> None:
        """Trials that were begun end as they are; a resume goes on with them.

        One that confirms another counts only when it was trained to its end.
        """
        for record in records:
            if record.status in ("running", "pending") and self.reason:
                counts = bool(record.epochs) and not record.confirms
                record.status = "completed" if counts else "pending"
                record.stop_reason = self.reason if counts else ""
