"""ASHA whose rungs survive a restart: nobody is judged twice, or against late figures.

Li et al., "A System for Massively Parallel Hyperparameter Tuning" (2020), in its stopping form:
at each rung a trial goes on only if it is at least as good as the top 1/reduction_factor of
those that were there before it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from raytune_ocr.files import replacing


class PersistentASHA(FIFOScheduler):
    """Stops trials at rungs of `grace_period * reduction_factor^k` epochs.

    Args:
        state_path: where the rungs are kept; read if it exists.
        metric: of a result, higher is better; NaN is worst.
        grace_period: epochs that every trial gets.
        reduction_factor: share of trials that go on is one in this many, >= 2.
        max_epochs: of the longest trial; a trial is never stopped on its own last epoch.
    """

    def __init__(
        self,
        state_path: str | Path,
        metric: str = "best_score",
        grace_period: int = 5,
        reduction_factor: int = 3,
        max_epochs: int = 40,
    ) -> None:
        super().__init__()
        self.state_path = Path(state_path)
        self.score_metric = metric
        self.reduction_factor = reduction_factor
        self.rungs = rung_epochs(grace_period, reduction_factor, max_epochs)
        self.records: dict[int, dict[str, float]] = {rung: {} for rung in self.rungs}
        self.stopped: dict[str, int] = {}
        self._load()

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
        self.records[epoch][name] = score
        last_epoch = epoch >= result.get("num_epochs", math.inf)
        stop = score < cutoff and not last_epoch
        if stop:
            self.stopped[name] = epoch
        self._save()
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

    def _save(self) -> None:
        state = {
            "records": {
                str(rung): {name: (None if v == -math.inf else v) for name, v in seen.items()}
                for rung, seen in self.records.items()
            },
            "stopped": self.stopped,
        }
        with replacing(self.state_path) as aside:
            aside.write_text(json.dumps(state), encoding="utf-8")

    def _load(self) -> None:
        if not self.state_path.exists():
            return
        state = json.loads(self.state_path.read_text(encoding="utf-8"))
        for rung, seen in state["records"].items():
            scores = {name: -math.inf if v is None else v for name, v in seen.items()}
            self.records.setdefault(int(rung), {}).update(scores)
        self.stopped = dict(state["stopped"])


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
