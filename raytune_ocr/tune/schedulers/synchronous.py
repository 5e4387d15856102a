"""The base of schedulers that pause trials at a milestone until the whole cohort has reached it.

Their decisions depend only on the scores and the seed, not on the number of workers, the speed of
trials, or resumes.
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
        """Return the epoch at which trials pause next; None: none."""
        raise NotImplementedError

    def next(self, pending: Trials, trials: Trials, new: NewTrials) -> Job | None:
        """Choose a trial below the milestone, the largest model first.

        The slowest ones start first, so that the cohort does not wait for one that started last.
        """
        behind = [trial for trial in pending.values() if not self._at_milestone(trial)]
        trial = max(behind, key=lambda trial: trial.size, default=None) or new.suggest()
        return Job(trial) if trial else None

    def next_milestone(self, trial: Trial) -> int | None:
        """Return the milestone of the whole cohort."""
        return self.milestone

    def apply(self, decision: Decision) -> None:
        """Move to the next milestone."""
        self.last_milestone = decision.epoch

    def cohort(self, trials: Trials) -> int:
        """Return the number of trials below this milestone, and of those that ended on it."""
        return sum(map(self._in_cohort, trials.values()))

    def _in_cohort(self, trial: Trial) -> bool:
        if not trial.is_finished or epochs_of(trial) > self.last_milestone:
            return True
        return trial.failed and epochs_of(trial) == self.last_milestone  # in the next epoch

    def _at_milestone(self, trial: Trial) -> bool:
        return self.milestone is not None and epochs_of(trial) >= self.milestone

    def ranked(self, trials: Trials, last: int) -> list[Trial]:
        """Return the cohort by the best score of its `last` epochs, best first.

        Returns:
            An empty list while some trials are below the milestone.
        """
        here = living(trials)
        if not all(map(self._at_milestone, here)):
            return []
        return sorted(here, key=lambda trial: (-self.score(trial, last), trial.name))

    def score(self, trial: Trial, last: int) -> float:
        """Return the best score of the `last` epochs before the milestone."""
        end = self.milestone or 0
        return best_score(trial, end - last + 1, end)
