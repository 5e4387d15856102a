"""Schedulers that survive a restart: nobody is judged twice, or against late figures.

They know trials by name, and have what they decided noted in the run's state. Ray's own forget all
of it when the driver ends.

- ASHA: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (2020), in its stopping
  form: at each rung a trial goes on only if it is at least as good as the top 1/reduction_factor of
  those that were there before it.
- HyperBand, asynchronous as in that paper: ASHA several times over, with rungs that begin later and
  later, for trials that are slow to show what they are worth.
- The median stopping rule: Golovin et al., "Google Vizier" (2017).

Those whose trials wait for each other are in `halving.py` and `population.py`; all that is here of
them is the end of a trial's turn.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from raytune_ocr.tune.halving import rung_epochs
from raytune_ocr.tune.options import WAITING, TuneOptions
from raytune_ocr.tune.results import TrialRecord
from raytune_ocr.tune.state import MEDIAN, RUNG, RunState


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


class Turns(FIFOScheduler):
    """Ends a trial's turn where it has to wait for others; it is asked for again later."""

    stopped: Mapping[str, int] = {}
    """By trial, the epoch at which each was stopped for good: not here."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop or go on."""
        return TrialScheduler.STOP if is_turn_over(trial, result) else TrialScheduler.CONTINUE


def is_turn_over(trial: Any, result: Mapping[str, Any]) -> bool:
    """Whether a trial has come to the epoch after which it has to wait."""
    until, epoch = trial.config.get("until"), result.get("epoch")
    return until is not None and epoch is not None and epoch >= until


def create_scheduler(
    options: TuneOptions,
    state: RunState,
    records: Mapping[str, TrialRecord],
    possible: Iterable[TrialRecord] = (),
) -> PersistentASHA | MedianRule | Turns | None:
    """The scheduler that `options` name; None: no trial is stopped early.

    Args:
        records: of the run, which grow while it goes on.
        possible: trials that may come to them.
    """
    if options.scheduler == "none":
        return None
    if options.scheduler in WAITING:
        return Turns()
    if options.scheduler == "median":
        return MedianRule(state, records, options.grace_period)
    kind = AsyncHyperBand if options.scheduler == "hyperband" else PersistentASHA
    return kind(
        state,
        grace_period=options.grace_period,
        reduction_factor=options.reduction_factor,
        max_epochs=max(r.config.num_epochs for r in (*records.values(), *possible)),
    )
