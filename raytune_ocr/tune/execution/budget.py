"""End a run when its time or money is spent, or a trial has reached the target."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from raytune_ocr.config.prices import Prices
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.cost import money_of
from raytune_ocr.results.record import LIMITS, MAX_COST, TARGET, TIME_BUDGET
from raytune_ocr.results.targets import Target

if TYPE_CHECKING:
    from raytune_ocr.results.record import TrialRecord


class Budget:
    """The limits of time and money and the target of a run; `reason` says which one ended it.

    Args:
        seconds: counted from `begin`; None: no limit.
        target: ends the run when a trial reaches it.
        max_cost: of all epochs of the run, earlier parts included, by `prices`; None: no limit.
    """

    def __init__(
        self,
        seconds: float | None = None,
        target: Target | None = None,
        max_cost: float | None = None,
    ) -> None:
        self.seconds = seconds
        self.target = target
        self.max_cost = max_cost
        self.prices: Prices | None = None
        self.reason = ""
        self._begun: float | None = None
        self._costs: dict[str, float] = {}

    @property
    def elapsed(self) -> float:
        """Seconds since `begin`."""
        return 0.0 if self._begun is None else time.monotonic() - self._begun

    def limit(self, seconds: float | None, max_cost: float | None, *, check: bool = True) -> None:
        """Change limits; None leaves one as it is.

        Args:
            check: raise ConfigurationError for a limit that is reached already.
        """
        spent = sum(self._costs.values())
        if check and seconds is not None and seconds <= self.elapsed:
            raise ConfigurationError(
                f"budget: seconds: must be above {self.elapsed:.0f}, the run's time so far, got "
                f"{seconds:g}; to end the run now, stop it"
            )
        if check and max_cost is not None and self.prices is None:
            raise ConfigurationError("budget: cost: the file of the run names no prices")
        if check and max_cost is not None and max_cost <= spent:
            raise ConfigurationError(
                f"budget: cost: must be above {spent:.2f}, the run's cost so far, got {max_cost:g}"
            )
        self.seconds = self.seconds if seconds is None else seconds
        self.max_cost = self.max_cost if max_cost is None else max_cost

    def start(self, records: Iterable[TrialRecord]) -> None:
        """Reset the budget; what earlier trials reached and cost may have ended it already."""
        self.reason, self._begun, self._costs = "", None, {}
        for record in records:
            self.note(record)
        self.is_exhausted()

    def begin(self) -> None:
        """Start the clock."""
        self._begun = time.monotonic()

    def note(self, record: TrialRecord) -> None:
        """Check the target after a trial's report."""
        if self.target is not None and self._reached(record):
            self.reason = self.reason or TARGET
        if self.prices is not None:
            self._costs[record.name] = money_of(record, self.prices)

    def _reached(self, record: TrialRecord) -> bool:
        monitor = record.task.monitor(record.config)
        return self.target is not None and self.target.reached(record.best, monitor)

    def spent(self) -> bool:
        """Whether the search must end."""
        return bool(self.reason) or self.is_exhausted()

    def is_exhausted(self) -> bool:
        """Whether all trials must end, also the confirming ones; notes the reason."""
        if self.reason in LIMITS:
            return True
        if self.seconds is not None and self.elapsed >= self.seconds:
            self.reason = TIME_BUDGET
        elif self.max_cost is not None and sum(self._costs.values()) >= self.max_cost:
            self.reason = MAX_COST
        return self.reason in LIMITS

    def cut(self, records: Iterable[TrialRecord]) -> None:
        """End the trials that have begun; a resume continues them.

        A confirming trial counts only if it trained to its end.
        """
        for record in records:
            if record.status in ("running", "pending") and self.reason:
                counts = bool(record.epochs) and not record.confirms
                record.status = "completed" if counts else "pending"
                record.stop_reason = self.reason if counts else ""

    def ended_by(self, left: int) -> str:
        """Return what ended the run, in words; "" if nothing did.

        Args:
            left: how many trials are not over.
        """
        if self.reason == TIME_BUDGET:
            rest = f"{left} trials not started" if left else "no trial is left"
            return f"the time budget of {self.seconds:g} s is spent, {rest}"
        if self.reason == MAX_COST:
            return f"--max-cost {self.max_cost:g} is spent (to train more, raise --max-cost)"
        if self.reason:
            return f"the target {self.target} is reached (to train more, raise or drop --target)"
        return ""


def most_trials(most: int | None, begun: int, size: int) -> str:
    """Return that --max-trials ended the run, in words; "" if it did not.

    Args:
        begun: how many trials the run has.
        size: how many the experiments have.
    """
    if most is None or not most <= begun < size:
        return ""
    return f"--max-trials: {begun} of {size} trials are done (to train more, raise --max-trials)"
