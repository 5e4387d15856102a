"""What to train next. Ray is told in `asking.py`; nothing here knows it.

Random trials are all drawn before the first one starts. Optuna's are drawn one by one, each from
what the ones before it have reached. Both depend on the seed, the trial's number and those results
alone, so that a resumed run has nothing else to remember.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from raytune_ocr.results.journal import KeptTrial
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.experiment import Experiment, Point
from raytune_ocr.tune.space.search_space import Space


def record_of(experiment: Experiment, point: Point) -> TrialRecord:
    """The record of a trial that has not begun."""
    return TrialRecord(
        point.config,
        search=experiment.name if experiment.is_search else "",
        sampled=dict(point.values),
        resources=experiment.resources,
    )


class RandomSearch:
    """All trials of all experiments, known from the start.

    Args:
        space: the experiments.
        known: points that are not trained again.
        max_trials: the first so many of the run; None: all.
    """

    adaptive = False
    """Whether later trials depend on what earlier ones reach."""
    takes_turns = False
    """Whether a trial stops to wait for others, and goes on after that."""
    kind = ""
    """Of the notes of what `decide` says, in the run's state; none where it decides nothing."""

    def __init__(
        self, space: Space, known: KnownPoints | None = None, max_trials: int | None = None
    ) -> None:
        self.space = space
        self.known = known or KnownPoints()
        self.max_trials = max_trials

    def first(self, begun: Collection[str] = ()) -> list[TrialRecord]:
        """What can be trained without knowing any result, in order, and what was begun already."""
        return self._capped(self._all(), begun)

    def _capped(self, records: list[TrialRecord], begun: Collection[str]) -> list[TrialRecord]:
        if self.max_trials is None:
            return records
        new = max(0, self.max_trials - sum(record.name in begun for record in records))
        names = {*begun, *[record.name for record in records if record.name not in begun][:new]}
        return [record for record in records if record.name in names]

    def next(self, records: Mapping[str, TrialRecord]) -> TrialRecord | None:
        """One trial more; None: there is none."""
        return None

    def restored(self, kept: Mapping[str, KeptTrial]) -> list[TrialRecord]:
        """Trials that an earlier part of this run drew by `next`."""
        return []

    def ready(self, unfinished: Sequence[TrialRecord]) -> list[TrialRecord]:
        """Those that can be trained now, before any that `next` draws."""
        return list(unfinished)

    def until(self, record: TrialRecord) -> int | None:
        """The epoch after which a trial has to wait for others; None: it need not."""
        return None

    def waits(self, record: TrialRecord) -> bool:
        """Whether it has come to that epoch."""
        return False

    def together(self, records: Mapping[str, TrialRecord]) -> int | None:
        """How many trials share the machines for now; None: as many as there is room for."""
        return None

    def decide(self, records: Mapping[str, TrialRecord]) -> dict[str, Any] | None:
        """What becomes of trials that have waited for each other; None: nothing now."""
        return None

    def take(self, decision: Mapping[str, Any]) -> None:
        """What `decide` said is so."""

    def examples(self) -> list[TrialRecord]:
        """Trials with every model and every dataset that may come."""
        return self._all()

    def _all(self) -> list[TrialRecord]:
        return [
            record_of(experiment, point)
            for experiment in self.space.experiments.values()
            for point in experiment.points(self.space.seed, self.known.skip)
        ]
