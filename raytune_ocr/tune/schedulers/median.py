"""The median stopping rule: Golovin et al., "Google Vizier" (2017)."""

from __future__ import annotations

import math
from statistics import fmean
from typing import ClassVar

import numpy as np

from raytune_ocr.tune.schedulers.base import (
    STOP,
    Decision,
    Scheduler,
    Trial,
    Trials,
    best_score,
    epochs_of,
)

FEWEST = 3
"""Other trials that must have reached the epoch before a trial is judged."""


class MedianRule(Scheduler):
    """Stops a trial with a best score below the median of the others' mean scores.

    The mean of another trial covers its epochs up to the judged one.
    """

    name: ClassVar[str] = "median"

    def report(self, trial: Trial, trials: Trials) -> Decision | None:
        """Judge a trial after each epoch from the grace period on, except its last."""
        epoch = epochs_of(trial)
        if not self.setup.grace_period <= epoch < trial.max_epochs:
            return None
        means = [
            mean_score(other, epoch)
            for other in trials.values()
            if other.name != trial.name and epochs_of(other) >= epoch
        ]
        known = [mean for mean in means if not math.isnan(mean)]
        if len(known) < FEWEST or best_score(trial) >= np.median(known):
            return None
        return self._decision(trial.name, epoch, STOP)


def mean_score(trial: Trial, epoch: int) -> float:
    """Return the mean score up to `epoch`; NaN if there is none."""
    scores = [s for e, s in trial.curve.items() if e <= epoch and not math.isnan(s)]
    return fmean(scores) if scores else math.nan
