"""ASHA and asynchronous HyperBand."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import math
from typing import Any

import numpy as np
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from raytune_ocr.results.journal import RunState
from raytune_ocr.results.journal_schema import RUNG
from raytune_ocr.tune.schedulers.rungs import rung_epochs


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
        name: str = result.get("experiment_name", "")
        epoch: Any = result.get("epoch")
        if name in self.stopped:  # the driver ended before it could note this
            return TrialScheduler.STOP
        if not self.judges(name, epoch) or name in self.records[epoch]:
            return TrialScheduler.CONTINUE
        score = float(result.get(self.score_metric, -math.inf))
        score = -math.inf if math.isnan(score) else score
        cutoff = self._cutoff(name, epoch)
        last_epoch = epoch >= result.get("num_epochs", math.inf)
        stop = score < cutoff and not last_epoch
        note = {"epoch": epoch, "trial": name, "score": score, "stopped": stop}
        self._take(note)
        self.state.keep(RUNG, note)
        return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE

    def judges(self, name: str, epoch: Any) -> bool:
        """Whether that epoch is a rung of that trial."""
        return epoch in self.records

    def compares(self, name: str, other: str) -> bool:
        """Whether two trials are judged by each other's scores."""
        return True

    def _cutoff(self, name: str, epoch: int) -> float:
        """What a trial must reach at a rung: the first to arrive always goes on."""
        finite = [
            score
            for other, score in self.records[epoch].items()
            if score > -math.inf and self.compares(name, other)
        ]
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


class AsyncHyperBand(PersistentASHA):
    """ASHA in brackets, the first with all rungs, each next without its predecessor's first one.

    A trial's bracket follows from its name, in HyperBand's proportions, so that it needs no memory.
    """

    def bracket(self, name: str) -> int:
        """Of a trial: how many of the rungs it is spared."""
        brackets = len(self.rungs) + 1
        eta = self.reduction_factor
        shares = [eta**-b / (brackets - b) for b in range(brackets)]
        digest = hashlib.sha256(name.encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64 * sum(shares)
        return bisect.bisect_right(list(itertools.accumulate(shares))[:-1], place)

    def judges(self, name: str, epoch: Any) -> bool:
        """Whether that epoch is a rung of the trial's bracket."""
        return epoch in self.rungs[self.bracket(name) :]

    def compares(self, name: str, other: str) -> bool:
        """Whether both are in one bracket."""
        return self.bracket(name) == self.bracket(other)
