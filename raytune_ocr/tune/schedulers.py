"""ASHA whose rungs survive a restart: nobody is judged twice, or against late figures.

Li et al., "A System for Massively Parallel Hyperparameter Tuning" (2020), in its stopping form:
at each rung a trial goes on only if it is at least as good as the top 1/reduction_factor of
those that were there before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.options import TuneOptions
from raytune_ocr.tune.results import TrialRecord
from raytune_ocr.tune.state import RUNG, RunState


def create_scheduler(
    options: TuneOptions, state: RunState, records: Iterable[TrialRecord]
) -> FIFOScheduler | None:
    """The scheduler that `options` name; None: no trial is stopped early."""
    if options.scheduler == "none":
        return None
    if options.scheduler != "asha":
        raise ConfigurationError(f"--scheduler: {options.scheduler} is not there yet")
    return PersistentASHA(
        state,
        grace_period=options.grace_period,
        reduction_factor=options.reduction_factor,
        max_epochs=max(record.config.num_epochs for record in records),
    )


class PersistentASHA(FIFOScheduler):
    """Stops trials at rungs of `grace_period * reduction_factor^k` epochs.

    Args:
        state: of the run; what it has of rungs is taken up.
        metric: of a result, higher is better; NaN is worst.
        grace_period: epochs that every trial gets.
        reduction_factor: share of trials that go on is one in this many, >= 2.
        max_epochs: of the longest trial; a trial is never stopped on its own last epoch.
    """

    def __init__(
        self,
        state: RunState,
        metric: str = "best_score",
        grace_period: int = 5,
        reduction_factor: int = 3,
        max_epochs: int = 40,
    ) -> None:
        super().__init__()
        self.state = state
        self.score_metric = metric
        self.reduction_factor = reduction_factor
        self.rungs = rung_epochs(grace_period, reduction_factor, max_epochs)
        self.records: dict[int, dict[str, float]] = {rung: {} for rung in self.rungs}
        self.stopped: dict[str, int] = {}
        for note in state.notes.get(RUNG, []):
            self._take(note)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop or go on; a rung counts only when a trial reports on that very epoch."""
        name, epoch = result.get("experiment_name", ""), result.get("epoch")
        if name in self.stopped:  # the driver ended before it could note this
            return TrialScheduler.STOP
        if epoch not in self.records or name in self.records[epoch]:
            return TrialScheduler.CONTINUE
        score = float(result.get(self.score_metric, -math.inf))
        score = -math.inf if math.isnan(score) else score
        cutoff = self._cutoff(epoch)
        last_epoch = epoch >= result.get("num_epochs", math.inf)
        stop = score < cutoff and not last_epoch
        note = {"epoch": epoch, "trial": name, "score": score, "stopped": stop}
        self._take(note)
        self.state.keep(RUNG, note)
        return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE

    def _cutoff(self, epoch: int) -> float:
        """What a trial must reach at a rung: the first to arrive always goes on."""
        finite = [score for score in self.records[epoch].values() if score > -math.inf]
        if not finite:
            return -math.inf
        return float(np.percentile(finite, (1 - 1 / self.reduction_factor) * 100))

    def debug_string(self) -> str:
        """Rungs and how many have been there."""
        return f"ASHA rungs: { {rung: len(seen) for rung, seen in self.records.items()} }"

    def _take(self, note: dict[str, Any]) -> None:
        score = -math.inf if note["score"] is None else note["score"]
        self.records.setdefault(note["epoch"], {})[note["trial"]] = score
        if note["stopped"]:
            self.stopped[note["trial"]] = note["epoch"]


def rung_epochs(grace_period: int, reduction_factor: int, max_epochs: int) -> list[int]:
    """Epochs at which trials are judged.

    >>> rung_epochs(5, 3, 40)
    [5, 15]
    """
    rungs = []
    epoch = grace_period
    while epoch < max_epochs:
        rungs.append(epoch)
        epoch *= reduction_factor
    return rungs
