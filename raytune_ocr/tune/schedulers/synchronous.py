"""Searches whose trials wait for each other at an epoch, where it is decided who goes on.

So what is decided depends on their figures and the seed alone, not on how many run at a time,
which is fast, or where a run was resumed. Figures in turn are the same to the last bit only with as
many threads, which are more where there are cores to spare (`Cluster.share`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from raytune_ocr.models.describe import work
from raytune_ocr.results.record import FINISHED, TrialRecord
from raytune_ocr.tune.search.random_search import RandomSearch
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.search_space import Space


class Fronts(RandomSearch):
    """Trials that are drawn at random and trained from one `front` to the next.

    Args:
        decisions: notes of what was decided before, in order; grows.

    The others are `RandomSearch`'s.
    """

    takes_turns = True

    def __init__(
        self,
        space: Space,
        known: KnownPoints | None = None,
        max_trials: int | None = None,
        decisions: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(space, known, max_trials)
        self.decisions = list(decisions)
        self._asked: set[str] = set()  # to train until `front`

    @property
    def front(self) -> int | None:
        """The epoch at which trials wait for each other next; None: no more."""
        raise NotImplementedError

    @property
    def last_front(self) -> int:
        """The epoch of the newest decision, 0 before the first."""
        return int(self.decisions[-1]["epoch"]) if self.decisions else 0

    # Whose turn it is

    def until(self, record: TrialRecord) -> int | None:
        """The epoch after which a trial has to wait."""
        return None if record.confirms else self.front

    def waits(self, record: TrialRecord) -> bool:
        """Whether it has come to the front, in this run or before."""
        return not record.confirms and self._at_front(record)

    def ready(self, unfinished: Sequence[TrialRecord]) -> list[TrialRecord]:
        """Nobody: each is asked for by `next`, when it is its turn."""
        self._asked.clear()
        return []

    def next(self, records: Mapping[str, TrialRecord]) -> TrialRecord | None:
        """One that has not come to the front; None while those that were asked for are at it.

        Those of the largest models are first, so that nobody waits for one that came last.
        """
        late = (
            record
            for record in living(records.values())
            if record.name not in self._asked and not self._at_front(record)
        )
        record = max(late, key=lambda record: work(record.config.model_name), default=None)
        if record is not None:
            self._asked.add(record.name)
        return record

    def together(self, records: Mapping[str, TrialRecord]) -> int:
        """Those on their way to this front, and those that ended on it: the same all the way."""
        mine = [record for record in records.values() if not record.confirms]
        return sum(map(self._is_of_this_turn, mine))

    def _is_of_this_turn(self, record: TrialRecord) -> bool:
        if record.status not in FINISHED or epochs_of(record) > self.last_front:
            return True
        return record.status == "failed" and epochs_of(record) == self.last_front  # in its next one

    def _at_front(self, record: TrialRecord) -> bool:
        return self.front is not None and epochs_of(record) >= self.front

    # Who goes on

    def take(self, decision: Mapping[str, Any]) -> None:
        """It is decided so: those that go on are on their way to the next front."""
        self.decisions.append(decision)
        self._asked.clear()

    def ranked(self, records: Mapping[str, TrialRecord], last: int) -> list[TrialRecord]:
        """Those at the front by their best in its `last` epochs, best first.

        Nobody while some are on their way to it.
        """
        here = living(records.values())
        if not all(map(self._at_front, here)):
            return []
        return sorted(here, key=lambda record: (-self.score(record, last), record.name))

    def score(self, record: TrialRecord, last: int) -> float:
        """The best of the `last` epochs before the front, higher is better; a NaN is worst."""
        end = self.front or 0
        monitor = record.config.early_stopping_monitor
        sign = 1 if record.config.early_stopping_mode == "max" else -1
        rows = [row for row in record.epochs if end - last < row["epoch"] <= end]
        values = [sign * row.get(monitor, math.nan) for row in rows]
        return max((value for value in values if not math.isnan(value)), default=-math.inf)


def living(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Trials of the search that are not over."""
    return [r for r in records if r.status not in FINISHED and not r.confirms]


def epochs_of(record: TrialRecord) -> int:
    """How many it has done."""
    return int(record.epochs[-1]["epoch"]) if record.epochs else 0
