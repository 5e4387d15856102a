"""Choose the trial that trains next by a model of all learning curves.

Each choice belongs to an arm, and each arm gets a share of the epochs:

- model: the trial that is most likely to improve on the best score by a random margin at a random
  horizon (Rakotoarison et al., "In-Context Freeze-Thaw Bayesian Optimization", 2024);
- complete: the same with the horizon at the end, and the trial trains to its end. Without it the
  model would see no late epochs if early ones mislead;
- halving: promotion by rank alone, as in ASHA, without the model;
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
from raytune_ocr.tune.schedulers.curves.earlier_studies import Advice, EarlierStudies
from raytune_ocr.tune.schedulers.curves.model import (
    Array,
    CurveModel,
    Indices,
    Points,
    fit,
    points,
    prior,
    quantiles,
    scaled,
)
from raytune_ocr.tune.schedulers.curves.unit_cube import UnitCube
from raytune_ocr.tune.schedulers.rungs import rung_epochs

GROWTH = 1.5
"""Ratio of a milestone to the one before."""
FIRST_STARTS = 8
"""Random trials before the model chooses."""
FACTOR = 3
"""Reduction factor of the arm `halving`."""
SHARES = {"halving": 0.15, "random": 0.10}
COMPLETE_SHARE = (0.05, 0.60)
"""Share of the arm `complete` if early epochs rank trials as late ones do, and the extra share as
the ranks agree less (half of all pairs: no agreement)."""
HEAD_START = 1.0
"""Full trainings that count for the arm `complete` at the start: its first one comes when its share
amounts to about one training."""
PRIOR_PAIRS, PRIOR_AGREEMENT = 4.0, 0.75
"""Prior of the agreement, and the number of pairs of trials that it counts as."""
HEDGE_AFTER = 4.0
"""Full trainings' worth of epochs after which the first trial, a random one, trains to its end."""
WIDTH = 2.0
"""Trials that have begun for each epoch that the model may train one to while there are new ones.
The trial in the lead improves on itself with almost every epoch: without this bound the model would
train it to its end, of the few it knows by then."""
LOG10_MARGIN = (-3.0, 0.0)
"""Range of the improvement margin, in normal quantiles of the ranks."""
CANDIDATES = 288
"""Limit of new trials per choice."""
SCREENED = 80
"""Paused and new trials with a computed standard deviation, at most."""
MAX_POINTS, FIT_POINTS = 400, 96
"""Limits of points for predictions and for fits of the hyper-parameters."""
REFIT = 1.3
"""Growth of the observations at which the hyper-parameters are fitted again."""


class Choice(NamedTuple):
    """The trial that trains next, its milestone and the arm."""

    trial: Trial
    until: int
    arm: str


class Progress:
    """The decisions so far; a resume rebuilds it from the journal.

    Attributes:
        until: the milestone of each trial that has begun, in order.
        spent: allocated epochs, by arm.
        decisions: number of choices.
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
        """Apply a choice."""
        state = decision.state
        self.until[decision.trial] = until = int(state["until"])
        self.spent[state["arm"]] += until - decision.epoch
        self.decisions += 1
        if "theta" in state:
            self.theta = np.array(state["theta"], dtype=float)
            self.fitted_on = int(state["fitted_on"])

    @property
    def epochs(self) -> int:
        """Allocated epochs."""
        return sum(self.spent.values())

    @property
    def is_spent(self) -> bool:
        """Whether the whole budget is allocated."""
        return self.epochs >= self.budget

    def is_under_way(self, trial: Trial) -> bool:
        """Whether a trial is still below its milestone."""
        return epochs_of(trial) < self.until.get(trial.name, 0)

    def next_milestone(self, trial: Trial) -> int:
        """Return the milestone after a trial's last epoch."""
        ahead = (epoch for epoch in self.milestones if epoch > epochs_of(trial))
        return min(next(ahead, trial.max_epochs), trial.max_epochs)


class CurveChoice:
    """One choice; it depends only on the progress, the trials' curves and the random numbers.

    Attributes:
        fitted: for the journal: the model's hyper-parameters if they were fitted again.
    """

    def __init__(
        self,
        progress: Progress,
        cube: UnitCube,
        trials: Trials,
        rng: np.random.Generator,
        earlier: EarlierStudies | None = None,
    ) -> None:
        self.progress, self.cube, self.rng = progress, cube, rng
        self.max_epochs = progress.max_epochs
        self.begun = [trials[name] for name in progress.until if name in trials]
        self.advice = Advice(earlier, self.begun) if earlier is not None and len(earlier) else None
        self._numbers = {trial.name: number for number, trial in enumerate(self.begun)}
        self.fitted: dict[str, Any] = {}

    def choose(self, fresh: Sequence[Trial], paused: Sequence[Trial]) -> Choice:
        """Choose among new and paused trials; there must be at least one."""
        if last := self._last(paused) or self._hedge(paused):
            return last
        seen, scores = self._observations()
        if fresh and (not len(scores) or len(self.begun) < FIRST_STARTS):
            return self._first(fresh)
        arm = self._arm_due()
        if arm == "random" and fresh:
            return self._start(fresh, arm)
        if arm == "halving":
            return self._promote(paused) or self._any(fresh, paused)
        return self._by_model(self._model(seen, scores), scores, fresh, paused, arm)

    # Arms

    def _last(self, paused: Sequence[Trial]) -> Choice | None:
        """Choose the best trial if the rest of the budget just suffices to train it to its end."""
        best = max(self.begun, key=lambda trial: (best_score(trial), trial.name), default=None)
        if best is None or best not in paused:
            return None
        left = self.progress.budget - self.progress.epochs
        needed = best.max_epochs - epochs_of(best)
        return Choice(best, best.max_epochs, "complete") if left <= needed else None

    def _hedge(self, paused: Sequence[Trial]) -> Choice | None:
        """Choose the first (random) trial, to its end."""
        first = self.begun[0] if self.begun else None
        if first not in paused or self.progress.epochs < HEDGE_AFTER * self.max_epochs:
            return None
        return Choice(self.begun[0], self.begun[0].max_epochs, "complete")

    def _start(self, fresh: Sequence[Trial], arm: str) -> Choice:
        trial = fresh[int(self.rng.integers(len(fresh)))]
        return Choice(trial, self.progress.next_milestone(trial), arm)

    def _first(self, fresh: Sequence[Trial]) -> Choice:
        """Choose a new trial before the model does: by an earlier study and at random in turn."""
        advised = self.advice.first(fresh) if self.advice else None
        if advised is None:
            return self._start(fresh, "random")
        return Choice(advised, self.progress.next_milestone(advised), "random")

    def _any(self, fresh: Sequence[Trial], paused: Sequence[Trial]) -> Choice:
        """Choose a new trial, or the best paused one, if halving promotes none."""
        if fresh:
            return self._start(fresh, "halving")
        best = max(paused, key=lambda trial: (best_score(trial), trial.name))
        return Choice(best, self.progress.next_milestone(best), "halving")

    def _promote(self, paused: Sequence[Trial]) -> Choice | None:
        """Choose the best trial in the top third of the highest rung that has a paused one."""
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
        """Choose the trial that is most likely to improve on the best by a margin at a horizon."""
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
        """Return the arm that is furthest behind its share."""
        complete = COMPLETE_SHARE[0] + COMPLETE_SHARE[1] * (1.0 - self._agreement())
        shares = {"complete": complete, **SHARES}
        shares = {"model": max(1.0 - sum(shares.values()), 0.0), **shares}
        ahead = {arm: HEAD_START * self.max_epochs * (arm == "complete") for arm in shares}
        spent = {arm: self.progress.spent[arm] + ahead[arm] for arm in shares}
        total = sum(spent.values())
        return max(shares, key=lambda arm: shares[arm] * total - spent[arm])

    def _agreement(self) -> float:
        """Return the share of pairs of full trainings that an early epoch ranks as the end does.

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
        """Return the model of the observations, fitted again if they have grown."""
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
        """Return the best score so far at each milestone and at the last epoch of every curve.

        NaN and the end of a failed trial get the worst score.
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
        earlier = self._predicted([self.begun[number] for number in numbers], epochs)
        return points(numbers, x, epochs, self.max_epochs, earlier), scores

    def _seen_of(self, trial: Trial) -> Iterable[tuple[int, float]]:
        best, last = -math.inf, epochs_of(trial)
        for epoch, score in sorted(trial.curve.items()):
            best = best if math.isnan(score) else max(best, score)
            if epoch == last or epoch in self.progress.milestones:
                yield epoch, -math.inf if math.isnan(score) else best
        if trial.failed:
            yield max(self.progress.until[trial.name], last + 1), -math.inf

    def _subset(self, seen: Points, scores: Array, count: int) -> Indices:
        """Return at most `count` points, as whole curves: best, longest and random ones in turn."""
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
        """Draw the epochs to look ahead: half the time log-uniform, half the time uniform."""
        if self.rng.random() < 0.5:
            return float(np.exp(self.rng.uniform(0.0, np.log(self.max_epochs))))
        return float(self.rng.uniform(1.0, self.max_epochs))

    def _some(self, fresh: Sequence[Trial]) -> Sequence[Trial]:
        if len(fresh) <= CANDIDATES:
            return fresh
        best = self.advice.best(fresh, CANDIDATES) if self.advice else np.empty(0, dtype=np.int64)
        others = np.setdiff1d(np.arange(len(fresh)), best)
        drawn = self.rng.choice(others, CANDIDATES - len(best), replace=False)
        return [fresh[i] for i in np.union1d(best, drawn)]

    def _within_width(self, paused: Sequence[Trial]) -> Sequence[Trial]:
        """Paused trials with a next milestone that enough trials have begun for."""
        bound = len(self.begun) / WIDTH * (self.advice.factor if self.advice else 1.0)
        return [trial for trial in paused if self.progress.next_milestone(trial) <= bound]

    def _screened(self, model: CurveModel, at: Points, paused: int) -> Indices:
        """Return the candidates with the best means and a few others, to bound the time."""
        rows = np.arange(len(at))
        if len(at) <= 2 * SCREENED:
            return rows
        mean = model.means(at)
        groups = (rows[:paused], rows[paused:])
        kept = [group[np.argsort(-mean[group], kind="stable")[:SCREENED]] for group in groups]
        return np.unique(np.concatenate([*kept, rows[paused : paused + SCREENED // 5]]))

    def _pending(self) -> Points | None:
        """Return the points that running trials will reach."""
        running = [
            trial
            for trial in self.begun
            if not trial.is_finished and self.progress.is_under_way(trial)
        ]
        if not running:
            return None
        return self._points(running, np.array([self.progress.until[t.name] for t in running]))

    def _places(self, trials: Sequence[Trial]) -> Array:
        """Return the settings of trials in the unit cube [n, size]."""
        return np.array([self.cube.point(t) for t in trials]).reshape(-1, self.cube.size)

    def _points(self, trials: Sequence[Trial], epochs: Array) -> Points:
        """Return points of trials; new trials have unique numbers below 0."""
        numbers = [self._numbers.get(trial.name, -1 - i) for i, trial in enumerate(trials)]
        return points(
            np.array(numbers),
            self._places(trials),
            epochs,
            self.max_epochs,
            self._predicted(trials, epochs),
        )

    def _predicted(self, trials: Sequence[Trial], epochs: Array) -> Array | None:
        """Return what earlier studies predict of trials at epochs [n, studies]."""
        return self.advice.at(trials, scaled(epochs, self.max_epochs)) if self.advice else None


def milestones_up_to(max_epochs: int) -> list[int]:
    """Return the epochs 1, 2, 3, 4, 6, 9, ... at which a trial may pause, the last one included."""
    out = [1]
    while out[-1] < max_epochs:
        out.append(min(max_epochs, max(out[-1] + 1, round(GROWTH * out[-1]))))
    return out
