"""Schedulers that pause trials at a milestone until the whole cohort has come to it.

What they decide depends on the trials' scores and the seed alone, not on how many trials run at a
time, how fast each is, or where a run was resumed.
"""

from __future__ import annotations

from typing import ClassVar

from raytune_ocr.tune.schedulers.base import (
    Decision,
    Job,
    NewTrials,
    Scheduler,
    Setup,
    Trial,
    Trials,
    best_score,
    epochs_of,
    living,
)


class Synchronous(Scheduler):
    """Trains a cohort from one milestone to the next. All trials must be known from the start."""

    pauses: ClassVar[bool] = True
    needs_all_trials: ClassVar[bool] = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.last_milestone = 0
        """The epoch of the newest decision."""

    @property
    def milestone(self) -> int | None:
        """The epoch at which trials pause next; None: no more."""
        raise NotImplementedError

    def next(self, pending: Trials, trials: Trials, new: NewTrials) -> Job | None:
        """Choose a trial that has not come to the milestone, the largest model first.

        The longest ones first, so that nothing waits for one that started last.
        """
        behind = [trial for trial in pending.values() if not self._at_milestone(trial)]
        trial = max(behind, key=lambda trial: trial.size, default=None) or new.suggest()
        return Job(trial) if trial else None

    def next_milestone(self, trial: Trial) -> int | None:
        """The milestone of the whole cohort."""
        return self.milestone

    def apply(self, decision: Decision) -> None:
        """Go on to the next milestone."""
        self.last_milestone = decision.epoch

    def cohort(self, trials: Trials) -> int:
        """Count the trials on their way to this milestone, and those that ended on it."""
        return sum(map(self._in_cohort, trials.values()))

    def _in_cohort(self, trial: Trial) -> bool:
        if not trial.is_finished or epochs_of(trial) > self.last_milestone:
            return True
        return trial.failed and epochs_of(trial) == self.last_milestone  # in the next epoch

    def _at_milestone(self, trial: Trial) -> bool:
        return self.milestone is not None and epochs_of(trial) >= self.milestone

    def ranked(self, trials: Trials, last: int) -> list[Trial]:
        """The cohort by the best score of its `last` epochs, best first.

        Returns:
            Nothing while some are on their way to the milestone.
        """
        here = living(trials)
        if not all(map(self._at_milestone, here)):
            return []
        return sorted(here, key=lambda trial: (-self.score(trial, last), trial.name))

    def score(self, trial: Trial, last: int) -> float:
        """The best score of the `last` epochs before the milestone."""
        end = self.milestone or 0
        return best_score(trial, end - last + 1, end)
