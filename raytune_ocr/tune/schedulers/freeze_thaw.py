"""Freeze-thaw search: a model of the learning curves chooses which trial starts or continues.

Swersky, Snoek and Adams, "Freeze-Thaw Bayesian Optimization" (2014). Trials pause at milestones;
whenever a worker is free, a paused or a new trial trains to its next milestone.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from raytune_ocr.tune.schedulers.base import (
    START,
    STOP,
    Decision,
    Job,
    NewTrials,
    Scheduler,
    Setup,
    Trial,
    Trials,
    epochs_of,
    living,
)
from raytune_ocr.tune.schedulers.curves.choice import FACTOR, CurveChoice, Progress
from raytune_ocr.tune.schedulers.curves.earlier_studies import EarlierStudies
from raytune_ocr.tune.schedulers.curves.unit_cube import UnitCube
from raytune_ocr.tune.schedulers.rungs import rung_epochs


class FreezeThaw(Scheduler):
    """Starts, pauses and continues trials by a model of their curves.

    The search ends when the budget of epochs is allocated: unfinished trials stop. The last epochs
    go to the trial that is the best when they just suffice for its end; a trial that becomes
    better meanwhile, on another worker, stops before its end. The default budget is that of
    successive halving from the first epoch. A trial that reports NaN stops.
    """

    name: ClassVar[str] = "freeze-thaw"
    pauses: ClassVar[bool] = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        budget = setup.epoch_budget or default_budget(setup.num_trials, setup.max_epochs)
        self.progress = Progress(setup.max_epochs, budget)
        self.rungs = self.progress.milestones[:-1]
        self._cube: UnitCube | None = None
        self._earlier: EarlierStudies | None = None

    def next(self, pending: Trials, trials: Trials, new: NewTrials) -> Job | None:
        """Choose the trial that trains next and its milestone."""
        progress = self.progress
        interrupted = next((t for t in pending.values() if progress.is_under_way(t)), None)
        if interrupted is not None:
            return Job(interrupted)
        fresh = [trial for trial in pending.values() if trial.name not in progress.until]
        if not fresh and (suggested := new.suggest()):
            fresh = [suggested]
        paused = [trial for trial in pending.values() if trial.name in progress.until]
        if progress.is_spent or not (fresh or paused):
            return None
        rng = np.random.default_rng([self.setup.seed, progress.decisions])
        choice = CurveChoice(progress, self._unit_cube(trials), trials, rng, self._earlier)
        trial, until, arm = choice.choose(fresh, paused)
        state = {"until": until, "arm": arm, **choice.fitted}
        return Job(trial, self._decision(trial.name, epochs_of(trial), START, state))

    def next_milestone(self, trial: Trial) -> int | None:
        """Return the milestone of its last choice."""
        return self.progress.until.get(trial.name)

    def report(self, trial: Trial, trials: Trials) -> Decision | None:
        """Stop a trial that diverged."""
        epoch = epochs_of(trial)
        if not math.isnan(trial.curve[epoch]) or epoch >= trial.max_epochs:
            return None
        return self._decision(trial.name, epoch, STOP)

    def decide(self, trials: Trials) -> list[Decision]:
        """Stop the unfinished trials once the budget is spent."""
        left = living(trials)
        if not self.progress.is_spent or any(map(self.progress.is_under_way, left)):
            return []
        return [self._decision(trial.name, epochs_of(trial), STOP) for trial in left]

    def apply(self, decision: Decision) -> None:
        """Record a choice and the fitted hyper-parameters."""
        if decision.decision == START:
            self.progress.apply(decision)

    def is_spent(self) -> bool:
        """Whether all epochs of the budget are allocated."""
        return self.progress.is_spent

    def _unit_cube(self, trials: Trials) -> UnitCube:
        if self._cube is None:
            presets = [trial for trial in trials.values() if not trial.search]
            self._cube = UnitCube(self.setup.domains, presets)
            self._earlier = EarlierStudies(self.setup.earlier, self._cube)
        return self._cube


def default_budget(trials: int | None, max_epochs: int) -> float:
    """Return the epochs of successive halving from the first epoch; infinite for unknown trials.

    >>> default_budget(9, 9)
    21
    """
    if trials is None:
        return math.inf
    epochs, left, reached = 0, trials, 0
    for rung in [*rung_epochs(1, FACTOR, max_epochs), max_epochs]:
        epochs += left * (rung - reached)
        left, reached = max(1, left // FACTOR), rung
    return epochs
