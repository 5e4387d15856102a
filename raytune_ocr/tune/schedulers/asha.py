"""ASHA in its stopping form: at each rung a trial continues only if it is among the best so far.

Li et al., "A System for Massively Parallel Hyperparameter Tuning" (2020). A trial is compared with
those that reached the rung before it and never waits, so the first ones pass.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from raytune_ocr.tune.schedulers.base import (
    CONTINUE,
    STOP,
    Decision,
    Scheduler,
    Setup,
    Trial,
    Trials,
    best_score,
    epochs_of,
)
from raytune_ocr.tune.schedulers.rungs import rung_epochs


class ASHA(Scheduler):
    """Stops trials at rungs of `grace_period * reduction_factor^k` epochs.

    A trial is judged at a rung only when it reports that epoch, and never in its last epoch.
    """

    name: ClassVar[str] = "asha"

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.rungs = rung_epochs(setup.grace_period, setup.reduction_factor, setup.max_epochs)
        self.scores: dict[int, dict[str, float]] = {rung: {} for rung in self.rungs}

    def report(self, trial: Trial, trials: Trials) -> Decision | None:
        """Judge a trial once at each rung."""
        epoch = epochs_of(trial)
        if not self.judges(trial.name, epoch) or trial.name in self.scores[epoch]:
            return None
        score = best_score(trial)
        stops = score < self._cutoff(trial.name, epoch) and epoch < trial.max_epochs
        state = {"score": score if math.isfinite(score) else None}
        return self._decision(trial.name, epoch, STOP if stops else CONTINUE, state)

    def apply(self, decision: Decision) -> None:
        """Record a trial's score at its rung."""
        score = decision.state.get("score")
        scores = self.scores.setdefault(decision.epoch, {})
        scores[decision.trial] = -math.inf if score is None else float(score)

    def judges(self, name: str, epoch: int) -> bool:
        """Whether that epoch is a rung of the trial."""
        return epoch in self.scores

    def compares(self, name: str, other: str) -> bool:
        """Whether two trials compete at the same rungs."""
        return True

    def _cutoff(self, name: str, epoch: int) -> float:
        """Return the score that a trial needs to continue."""
        finite = [
            score
            for other, score in self.scores[epoch].items()
            if score > -math.inf and self.compares(name, other)
        ]
        if not finite:
            return -math.inf
        return float(np.percentile(finite, (1 - 1 / self.setup.reduction_factor) * 100))
