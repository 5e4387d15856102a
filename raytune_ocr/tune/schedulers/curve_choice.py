"""The choice of the trial that trains next, by a model of all learning curves.

Each choice belongs to an arm, and each arm has a share of the epochs:

- model: the trial that is likeliest to improve on the best score by a random margin at a random
  horizon (Rakotoarison et al., "In-Context Freeze-Thaw Bayesian Optimization", 2024);
- complete: the same with the horizon at the end, and the trial trains to its end. Without it the
  model has no late epochs to learn from where early ones mislead;
- halving: promotion by rank alone, as in ASHA, whatever the model believes;
- random: a new trial at random.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.special import log_ndtr

from raytune_ocr.tune.schedulers.base import Decision, Trial, Trials, best_score, epochs_of
from raytune_ocr.tune.schedulers.curve_model import (
    Array,
    CurveModel,
    Indices,
    Points,
    fit,
    points,
    prior,
    quantiles,
)
from raytune_ocr.tune.schedulers.rungs import rung_epochs
from raytune_ocr.tune.schedulers.unit_cube import UnitCube

GROWTH = 1.5
"""Each milestone is so many times the one before."""
FIRST_STARTS = 8
"""Trials that begin at random, before the model chooses."""
FACTOR = 3
"""One trial in so many is promoted from a rung of the arm `halving`."""
SHARES = {"halving": 0.15, "random": 0.10}
COMPLETE_SHARE = (0.05, 0.60)
"""Share of the arm `complete`: where early epochs rank trials as late ones do, and how much more
there is as they agree less (half of all pairs: nothing in common)."""
HEAD_START = 1.0
"""Full trainings that the arm `complete` is held to have had at first: the first one comes when its
share amounts to about one, not to a part of one."""
PRIOR_PAIRS, PRIOR_AGREEMENT = 4.0, 0.75
"""The agreement that is assumed at first, and how many pairs of trials it counts as."""
HEDGE_AFTER = 4.0
"""Full trainings' worth of epochs after which the first trial, a random one, trains to its end."""
WIDTH = 2.0
"""Trials that have begun for each epoch that the model may train one to while there are new ones.
The trial in the lead improves on itself with almost every epoch: without this bound the model would
train it to its end, of the few it knows by then."""
LOG10_MARGIN = (-3.0, 0.0)
"""Of the improvement that is looked for, in normal quantiles of the ranks."""
CANDIDATES = 288
"""New trials that are compared, at most."""
SCREENED = 80
"""Paused trials, and new ones, of which the standard deviation is worked out."""
MAX_POINTS, FIT_POINTS = 400, 96
"""Points that the model predicts from, and that its hyper-parameters are fitted to, at most."""
REFIT = 1.3
"""The hyper-parameters are fitted anew when there are so many times the observations."""


class Choice(NamedTuple):
    """A trial that trains next, until which epoch, by which arm."""

    trial: Trial
    until: int
    arm: str


class Progress:
    """What was decided so far; rebuilt from the journal's decisions.

    Attributes:
        until: by trial that has begun, in order, the epoch that it was chosen to train to.
        spent: epochs given out, by arm.
        decisions: how many choices were made.
        theta: the model's hyper-parameters, as last fitted.
        fitted_on: observations at that time.
    """

    def __init__(self, max_epochs: int, budget: float) -> None:
        self.max_epochs, self.budget = max_epochs, budget
        self.milestones = milestones_up_to(max_epochs)
        self.until: dict[str, int] = {}
        self.spent = dict.fromkeys(("model", "complete", *SHARES), 0)
        self.decisions = 0
        self.theta: Array | None = None
        self.fitted_on = 0

    def apply(self, decision: Decision) -> None:
        """Take in a choice."""
        state = decision.state
        self.until[decision.trial] = until = int(state["until"])
        self.spent[state["arm"]] += until - decision.epoch
        self.decisions += 1
        if "theta" in state:
            self.theta = np.array(state["theta"], dtype=float)
            self.fitted_on = int(state["fitted_on"])

    @property
    def epochs(self) -> int:
        """Epochs given out."""
        return sum(self.spent.values())

    @property
    def is_spent(self) -> bool:
        """Whether the whole budget is given out."""
        return self.epochs >= self.budget

    def is_under_way(self, trial: Trial) -> bool:
        """Whether a trial has not come to the epoch that it was chosen to train to."""
        return epochs_of(trial) < self.until.get(trial.name, 0)

    def next_milestone(self, trial: Trial) -> int:
        """The milestone after a trial's last epoch."""
        ahead = (epoch for epoch in self.milestones if epoch > epochs_of(trial))
        return min(next(ahead, trial.max_epochs), trial.max_epochs)


class CurveChoice:
    """One choice; it follows from the progress, the trials' curves and the random numbers alone.

    Attributes:
        fitted: for the journal: the model's hyper-parameters, where they were fitted anew.
    """

    def __init__(
        self, progress: Progress, cube: UnitCube, trials: Trials, rng: np.random.Generator
    ) -> None:
        self.progress, self.cube, self.rng = progress, cube, rng
        self.max_epochs = progress.max_epochs
        self.begun = [trials[name] for name in progress.until if name in trials]
        self._numbers = {trial.name: number for number, trial in enumerate(self.begun)}
        self.fitted: dict[str, Any] = {}

    def choose(self, fresh: Sequence[Trial], paused: Sequence[Trial]) -> Choice:
        """Choose among trials that have not begun and paused ones; there must be one."""
        if last := self._last(paused) or self._hedge(paused):
            return last
        seen, scores = self._observations()
        if fresh and (not len(scores) or len(self.begun) < FIRST_STARTS):
            return self._start(fresh, "random")
        arm = self._arm_due()
        if arm == "random" and fresh:
            return self._start(fresh, arm)
        if arm == "halving":
            return self._promote(paused) or self._any(fresh, paused)
        return self._by_model(self._model(seen, scores), scores, fresh, paused, arm)

    # Arms

    def _last(self, paused: Sequence[Trial]) -> Choice | None:
        """The best trial, when the rest of the budget just suffices to train it to its end."""
        best = max(self.begun, key=lambda trial: (best_score(trial), trial.name), default=None)
        if best is None or best not in paused:
            return None
        left = self.progress.budget - self.progress.epochs
        needed = best.max_epochs - epochs_of(best)
        return Choice(best, best.max_epochs, "complete") if left <= needed else None

    def _hedge(self, paused: Sequence[Trial]) -> Choice | None:
        """The first trial, which no early epoch has chosen, to its end."""
        first = self.begun[0] if self.begun else None
        if first not in paused or self.progress.epochs < HEDGE_AFTER * self.max_epochs:
            return None
        return Choice(self.begun[0], self.begun[0].max_epochs, "complete")

    def _start(self, fresh: Sequence[Trial], arm: str) -> Choice:
        trial = fresh[int(self.rng.integers(len(fresh)))]
        return Choice(trial, self.progress.next_milestone(trial), arm)

    def _any(self, fresh: Sequence[Trial], paused: Sequence[Trial]) -> Choice:
        """Halving with nobody to promote: a new trial, or the best paused one."""
        if fresh:
            return self._start(fresh, "halving")
        best = max(paused, key=lambda trial: (best_score(trial), trial.name))
        return Choice(best, self.progress.next_milestone(best), "halving")

    def _promote(self, paused: Sequence[Trial]) -> Choice | None:
        """The best trial in the upper third of the highest rung that has one paused."""
        names = {trial.name for trial in paused}
        rungs = [*rung_epochs(1, FACTOR, self.max_epochs), self.max_epochs]
        for low, high in reversed(list(pairwise(rungs))):
            there = [trial for trial in self.begun if epochs_of(trial) >= low]
            there.sort(key=lambda trial: -best_score(trial, last=low))
            for trial in there[: len(there) // FACTOR]:
                if trial.name in names and epochs_of(trial) < high:
                    return Choice(trial, min(high, trial.max_epochs), "halving")
        return None

    def _by_model(
        self,
        model: CurveModel,
        scores: Array,
        fresh: Sequence[Trial],
        paused: Sequence[Trial],
        arm: str,
    ) -> Choice:
        """The trial that is likeliest to improve on the best by a margin at a horizon."""
        to_end = arm == "complete"
        if fresh and not to_end:
            paused = self._within_width(paused)
        horizon = self.max_epochs if to_end else self._horizon()
        candidates = [*paused, *self._some(fresh)]
        ahead = [min(epochs_of(trial) + horizon, trial.max_epochs) for trial in candidates]
        at = self._points(candidates, np.round(ahead))
        kept = self._screened(model, at, len(paused))
        mean, spread = model.predict(at.take(kept), self._pending())
        best = quantiles(scores.max(keepdims=True), scores)[0]
        goal = best + 10.0 ** self.rng.uniform(*LOG10_MARGIN)
        picked = candidates[int(kept[np.argmax(log_ndtr((mean - goal) / spread))])]
        until = picked.max_epochs if to_end else self.progress.next_milestone(picked)
        return Choice(picked, until, arm)

    def _arm_due(self) -> str:
        """The arm that is furthest behind its share."""
        complete = COMPLETE_SHARE[0] + COMPLETE_SHARE[1] * (1.0 - self._agreement())
        shares = {"complete": complete, **SHARES}
        shares = {"model": max(1.0 - sum(shares.values()), 0.0), **shares}
        ahead = {arm: HEAD_START * self.max_epochs * (arm == "complete") for arm in shares}
        spent = {arm: self.progress.spent[arm] + ahead[arm] for arm in shares}
        total = sum(spent.values())
        return max(shares, key=lambda arm: shares[arm] * total - spent[arm])

    def _agreement(self) -> float:
        """Share of the pairs of fully trained trials that an early epoch ranked as the end did.

        Kendall's concordance, with a prior.
        """
        middle = self.max_epochs / 10
        early_epoch = min(self.progress.milestones, key=lambda epoch: abs(epoch - middle))
        done = [trial for trial in self.begun if epochs_of(trial) >= self.max_epochs]
        early = np.array([best_score(trial, last=early_epoch) for trial in done])
        end = np.array([best_score(trial) for trial in done])
        i, j = np.triu_indices(len(done), 1)
        same = 0.5 + 0.5 * np.sign(early[i] - early[j]) * np.sign(end[i] - end[j])
        pairs = len(i) + PRIOR_PAIRS
        return float((np.nansum(same) + PRIOR_PAIRS * PRIOR_AGREEMENT) / pairs)

    # What the model sees

    def _model(self, seen: Points, scores: Array) -> CurveModel:
        """The model of what was seen, fitted anew where that has grown."""
        targets = quantiles(scores, scores)
        start, theta = prior(self.cube.size)[0], self.progress.theta
        known = theta is not None and len(theta) == len(start)
        theta = theta if theta is not None and known else start
        if not known or len(scores) >= REFIT * self.progress.fitted_on:
            index = self._subset(seen, scores, FIT_POINTS)
            theta = fit(seen.take(index), targets[index], theta)
            self.fitted = {"theta": theta.tolist(), "fitted_on": len(scores)}
        index = self._subset(seen, scores, MAX_POINTS)
        return CurveModel(seen.take(index), targets[index], theta)

    def _observations(self) -> tuple[Points, Array]:
        """The best score so far at each milestone and at the last epoch of every curve.

        NaN, and the end of a trial that failed, are the worst there is.
        """
        rows = [
            (number, epoch, score)
            for number, trial in enumerate(self.begun)
            for epoch, score in self._seen_of(trial)
        ]
        numbers = np.array([row[0] for row in rows], dtype=np.int64)
        x = self._places(self.begun)[numbers]
        epochs = np.array([row[1] for row in rows], dtype=float)
        scores = np.array([row[2] for row in rows])
        return points(numbers, x, epochs, self.max_epochs), scores

    def _seen_of(self, trial: Trial) -> Iterable[tuple[int, float]]:
        best, last = -math.inf, epochs_of(trial)
        for epoch, score in sorted(trial.curve.items()):
            best = best if math.isnan(score) else max(best, score)
            if epoch == last or epoch in self.progress.milestones:
                yield epoch, -math.inf if math.isnan(score) else best
        if trial.failed:
            yield max(self.progress.until[trial.name], last + 1), -math.inf

    def _subset(self, seen: Points, scores: Array, count: int) -> Indices:
        """At most so many points, as whole curves: the best, the longest and any, by turns."""
        if len(seen) <= count:
            return np.arange(len(seen))
        keys, rows = np.unique(seen.trial, return_inverse=True)
        best, reached = np.full(len(keys), -np.inf), np.zeros(len(keys))
        np.maximum.at(best, rows, scores)
        np.maximum.at(reached, rows, seen.tau)
        orders = [np.argsort(-best, kind="stable"), np.argsort(-reached, kind="stable")]
        mixed = np.stack([*orders, self.rng.permutation(len(keys))], 1)
        place = np.full(len(keys), mixed.size)
        np.minimum.at(place, mixed.ravel(), np.arange(mixed.size))
        return np.sort(np.argsort(place[rows], kind="stable")[:count])

    # Candidates

    def _horizon(self) -> float:
        """Epochs to look ahead: half the time uniform in the log, half the time uniform."""
        if self.rng.random() < 0.5:
            return float(np.exp(self.rng.uniform(0.0, np.log(self.max_epochs))))
        return float(self.rng.uniform(1.0, self.max_epochs))

    def _some(self, fresh: Sequence[Trial]) -> Sequence[Trial]:
        if len(fresh) <= CANDIDATES:
            return fresh
        index = self.rng.choice(len(fresh), CANDIDATES, replace=False)
        return [fresh[i] for i in np.sort(index)]

    def _within_width(self, paused: Sequence[Trial]) -> Sequence[Trial]:
        """Paused trials with a next milestone that enough trials have begun for."""
        bound = len(self.begun) / WIDTH
        return [trial for trial in paused if self.progress.next_milestone(trial) <= bound]

    def _screened(self, model: CurveModel, at: Points, paused: int) -> Indices:
        """The candidates of the best means, and a few others, to bound the time of a choice."""
        rows = np.arange(len(at))
        if len(at) <= 2 * SCREENED:
            return rows
        mean = model.means(at)
        groups = (rows[:paused], rows[paused:])
        kept = [group[np.argsort(-mean[group], kind="stable")[:SCREENED]] for group in groups]
        return np.unique(np.concatenate([*kept, rows[paused : paused + SCREENED // 5]]))

    def _pending(self) -> Points | None:
        """The points that running trials will come to."""
        running = [
            trial
            for trial in self.begun
            if not trial.is_finished and self.progress.is_under_way(trial)
        ]
        if not running:
            return None
        return self._points(running, np.array([self.progress.until[t.name] for t in running]))

    def _places(self, trials: Sequence[Trial]) -> Array:
        """The settings of trials in the unit cube [n, size]."""
        return np.array([self.cube.point(t) for t in trials]).reshape(-1, self.cube.size)

    def _points(self, trials: Sequence[Trial], epochs: Array) -> Points:
        """Points of trials; those that have not begun have numbers of their own below 0."""
        numbers = [self._numbers.get(trial.name, -1 - i) for i, trial in enumerate(trials)]
        return points(np.array(numbers), self._places(trials), epochs, self.max_epochs)


def milestones_up_to(max_epochs: int) -> list[int]:
    """Epochs 1, 2, 3, 4, 6, 9, ... at which a trial may pause, the last one included."""
    out = [1]
    while out[-1] < max_epochs:
        out.append(min(max_epochs, max(out[-1] + 1, round(GROWTH * out[-1]))))
    return out
