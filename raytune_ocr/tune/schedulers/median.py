"""The median stopping rule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from raytune_ocr.results.journal import RunState
from raytune_ocr.results.journal_schema import MEDIAN
from raytune_ocr.results.record import TrialRecord


class MedianRule(FIFOScheduler):
    """Stops a trial whose best score so far is below the median of what the others had.

    What another trial had by an epoch is the mean of its scores up to that epoch. It reads the
    run's records, which a resumed run has as well.

    Args:
        state: of the run, where it notes whom it stopped.
        records: of the run, by trial.
        grace_period: epochs that every trial gets.
        fewest: others that must have come as far, or nobody is judged.
    """

    def __init__(
        self,
        state: RunState,
        records: Mapping[str, TrialRecord],
        grace_period: int = 5,
        fewest: int = 3,
    ) -> None:
        super().__init__()
        self.state = state
        self.records = records
        self.grace_period = grace_period
        self.fewest = fewest
        self.stopped: dict[str, int] = {
            note["trial"]: note["epoch"] for note in state.notes.get(MEDIAN, [])
        }

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop or go on."""
        name, epoch = result.get("experiment_name", ""), result.get("epoch")
        if name in self.stopped:
            return TrialScheduler.STOP
        if epoch is None or not self.grace_period <= epoch < result.get("num_epochs", math.inf):
            return TrialScheduler.CONTINUE
        means = [
            record.mean_score(epoch)
            for other, record in self.records.items()
            if other != name and record.epochs and record.epochs[-1]["epoch"] >= epoch
        ]
        known = [mean for mean in means if not math.isnan(mean)]
        score = float(result.get("best_score", math.nan))
        if len(known) < self.fewest or score >= np.median(known):
            return TrialScheduler.CONTINUE
        note = {"trial": name, "epoch": epoch}
        self.stopped[name] = epoch
        self.state.keep(MEDIAN, note)
        return TrialScheduler.STOP

    def debug_string(self) -> str:
        """How many were stopped."""
        return f"median rule: {len(self.stopped)} stopped"
