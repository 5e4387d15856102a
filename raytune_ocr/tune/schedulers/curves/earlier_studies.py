"""What the learning curves of earlier studies predict for the trials of this one.

Each study has a model of its own, of its scores' ranks. Its predictions at the trials of this run
are one more input of the run's model, which learns how much each study counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from raytune_ocr.tune.schedulers.base import EarlierTrial, Trial, best_score
from raytune_ocr.tune.schedulers.curves.model import (
    Array,
    CurveModel,
    Indices,
    fit,
    points,
    prior,
    quantiles,
)
from raytune_ocr.tune.schedulers.curves.unit_cube import UnitCube

GRID = np.linspace(0.15, 1.0, 4)
"""Scaled log epochs of the predictions; between them they are interpolated."""
MOST_TRIALS = 150
"""Trials that the model of a study has: its best ones, a third, and others at random."""
FIT_POINTS = 96
FEWEST_TRIALS = 4
"""Fewer trials rank nothing."""
PRIOR_TRIALS = 8.0
"""Trials without correlation that the trust in a study begins with."""
FIRST_AGREEMENT = 0.03
"""Agreement from which earlier studies choose half of the first trials."""
TRUSTED = 30.0
"""How many times longer the model may train a trial if earlier studies rank all as this one."""


class EarlierStudies:
    """The models of the earlier studies, and their predictions by trial.

    Args:
        studies: the trials of each.
        cube: of this run's settings.
    """

    def __init__(self, studies: Sequence[Sequence[EarlierTrial]], cube: UnitCube) -> None:
        there = [[trial for trial in study if _is_known(trial)] for study in studies]
        self._models = [StudyModel(study, cube) for study in there if len(study) >= FEWEST_TRIALS]
        self._cube = cube
        self._known: dict[str, Array] = {}

    def __len__(self) -> int:
        return len(self._models)

    def at_end(self, trials: Sequence[Trial]) -> Array:
        """Return the predictions [n, studies] of trials at their ends."""
        return self._on_grid(trials)[:, -1]

    def at(self, trials: Sequence[Trial], tau: Array) -> Array:
        """Return the predictions [n, studies] of trials at scaled log epochs [n]."""
        grid = self._on_grid(trials)
        place = np.clip((tau - GRID[0]) / (GRID[1] - GRID[0]), 0.0, len(GRID) - 1.0)
        low = np.minimum(place.astype(int), len(GRID) - 2)
        share, rows = (place - low)[:, None], np.arange(len(tau))
        return (1.0 - share) * grid[rows, low] + share * grid[rows, low + 1]

    def _on_grid(self, trials: Sequence[Trial]) -> Array:
        """Return predictions [n, grid, studies], computed once for each trial."""
        new = [trial for trial in trials if trial.name not in self._known]
        if new:
            x = np.array([self._cube.point(trial) for trial in new])
            rows = np.stack([model.above_average(x) for model in self._models], axis=-1)
            self._known |= {trial.name: row for trial, row in zip(new, rows, strict=True)}
        shape = len(trials), len(GRID), len(self)
        return np.array([self._known[trial.name] for trial in trials]).reshape(shape)


class Advice:
    """What earlier studies say of this run's trials, as far as they agree with those that began.

    Args:
        begun: this run's trials with epochs.
    """

    def __init__(self, earlier: EarlierStudies, begun: Sequence[Trial]) -> None:
        self.earlier = earlier
        self.turn, self._is_random = divmod(len(begun), 2)
        self.trust = _trust(earlier, [trial for trial in begun if 1 in trial.curve])
        self.agreement = abs(float(self.trust.mean()))
        """How far the studies agree in ranking this one's trials, 0..1."""

    @property
    def factor(self) -> float:
        """How many times longer the model may train a trial."""
        return TRUSTED**self.agreement

    def at(self, trials: Sequence[Trial], tau: Array) -> Array:
        """Return predictions [n, studies] at scaled log epochs [n], each times the trust in it."""
        return self.earlier.at(trials, tau) * self.trust

    def first(self, fresh: Sequence[Trial]) -> Trial | None:
        """Return a trial to start before there is a model; None: a random one.

        Every other trial is random, and all are if the studies do not rank those that began.
        """
        at_end = self.earlier.at_end(fresh)
        if self._is_random or (self.turn > 1 and self.agreement < FIRST_AGREEMENT):
            return None
        good = at_end @ self.trust if self.turn > 1 else at_end[:, self.turn % len(self.earlier)]
        return fresh[int(np.argmax(good))]

    def best(self, fresh: Sequence[Trial], count: int) -> Indices:
        """Return up to `count` trials with the best predictions; fewer if the studies disagree."""
        order = np.argsort(-self.earlier.at_end(fresh) @ self.trust, kind="stable")
        return order[: round(count * min(1.0, 2.0 * self.agreement))]


def _trust(earlier: EarlierStudies, begun: Sequence[Trial]) -> Array:
    """Return how well each study ranks trials by their first epoch [studies], -1..1.

    The squared rank correlation with its sign, shrunk by the number of trials: a study that ranks
    them the other way round says as much as one that ranks them the same way. And shrunk by the
    variance of the study's predictions, up to half of its scores' variance: settings that
    explain little there agree with this run's by chance.
    """
    if len(begun) < FEWEST_TRIALS:
        return np.zeros(len(earlier))
    first = np.array([best_score(trial, last=1) for trial in begun])
    first = quantiles(first, first)
    predicted = earlier.at(begun, np.zeros(len(begun)))
    ranks = np.stack([quantiles(column, column) for column in predicted.T], axis=1)
    found = first @ ranks / max(float(first @ first), 1e-9)
    explained = np.minimum(2.0 * earlier.at_end(begun).var(0), 1.0)
    return np.asarray(found * np.abs(found) * explained * len(begun) / (len(begun) + PRIOR_TRIALS))


class StudyModel:
    """A model of the curves of one study.

    Its predictions are quantiles above those of the study's average trial at the same epoch,
    because the run's own model has a trend, and other epochs to rank among.
    """

    def __init__(self, study: Sequence[EarlierTrial], cube: UnitCube) -> None:
        kept = _some(study)
        longest = max(trial.max_epochs for trial in kept)
        rows = [
            (number, epoch / trial.max_epochs * longest, score)
            for number, trial in enumerate(kept)
            for epoch, score in _thinned(trial)
        ]
        numbers, epochs, scores = (np.array(column) for column in zip(*rows, strict=True))
        x = np.array([cube.place(t.search, t.sampled, t.settings) for t in kept])
        seen, targets = points(numbers, x[numbers], epochs, longest), quantiles(scores, scores)
        rng = np.random.default_rng(len(study))
        chosen = np.sort(rng.permutation(len(rows))[:FIT_POINTS])
        theta = fit(seen.take(chosen), targets[chosen], prior(cube.size)[0])
        self._model = CurveModel(seen, targets, theta)
        self._average = self._means(x).mean(0)

    def above_average(self, x: Array) -> Array:
        """Return predictions [n, grid] of new trials with settings x [n, d]."""
        return self._means(x) - self._average

    def _means(self, x: Array) -> Array:
        each = np.repeat(np.arange(len(x)), len(GRID))
        at = points(-1 - each, x[each], np.ones(len(each)), 1).at_tau(np.tile(GRID, len(x)))
        return self._model.means(at).reshape(len(x), len(GRID))


def _is_known(trial: EarlierTrial) -> bool:
    return any(not math.isnan(score) for score in trial.curve.values())


def _some(study: Sequence[EarlierTrial]) -> list[EarlierTrial]:
    """Return at most `MOST_TRIALS` trials."""
    if len(study) <= MOST_TRIALS:
        return list(study)
    order = sorted(range(len(study)), key=lambda i: -_best(study[i]))
    best, others = order[: MOST_TRIALS // 3], order[MOST_TRIALS // 3 :]
    rng = np.random.default_rng(len(study))
    drawn = rng.permutation(len(others))[: MOST_TRIALS - len(best)]
    return [study[i] for i in sorted([*best, *(others[k] for k in drawn)])]


def _best(trial: EarlierTrial) -> float:
    return max(score for score in trial.curve.values() if not math.isnan(score))


def _thinned(trial: EarlierTrial) -> list[tuple[int, float]]:
    """Return the best score so far at a few epochs, the last one included."""
    wanted = set(np.round(np.expm1(GRID * np.log1p(trial.max_epochs))).astype(int))
    best, last, out = -math.inf, max(trial.curve), []
    for epoch, score in sorted(trial.curve.items()):
        best = best if math.isnan(score) else max(best, score)
        if epoch == last or epoch in wanted:
            out.append((epoch, -math.inf if math.isnan(score) else best))
    return out
