"""Search by Optuna's tree-structured Parzen estimator (TPE)."""

from __future__ import annotations

import math
import random
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.schedulers.base import Trial, best_score
from raytune_ocr.tune.search.base import Searcher
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.domains import Domain
from raytune_ocr.tune.space.experiment import Experiment, Point, key_of

RANDOM_FIRST = 10  # trials before TPE models anything, fewer in small searches


class OptunaSearch(Searcher):
    """Suggests by TPE. It chooses the values of all domains but grids, which come in turn.

    The study is built from the trials and the known points for each suggestion.

    Raises:
        ConfigurationError: Optuna is not installed.
    """

    name: ClassVar[str] = "optuna"

    def __init__(self, experiment: Experiment, seed: int, known: KnownPoints) -> None:
        super().__init__(experiment, seed, known)
        try:
            import optuna
        except ImportError:
            raise ConfigurationError(
                "--search optuna: Optuna is not installed; pip install 'raytune-ocr[optuna]'"
            ) from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)

    def suggest(self, number: int, trials: Sequence[Trial]) -> Point | None:
        """Choose a point in the least used combination of grid values that has a new one."""
        seen = {key_of(trial.sampled) for trial in trials}
        asked = self._study(trials, number).ask()
        fault: ConfigurationError | None = None
        for cell in self._cells(trials):
            try:
                point = self._within(cell, asked, number, seen)
            except ConfigurationError as error:
                fault = error  # of this combination; another one may do
                continue
            if point is not None:
                return point
        if fault:
            raise fault
        return None

    def _cells(self, trials: Sequence[Trial]) -> list[dict[str, Any]]:
        """The combinations of its grids, the least used first, of these the least known."""
        experiment = self.experiment
        grids = {name for name, domain in experiment.domains.items() if domain.kind == "grid"}
        if not grids:
            return experiment.cells

        def counted(tried: Iterable[Mapping[str, Any]]) -> Counter[str]:
            return Counter(key_of({n: v for n, v in one.items() if n in grids}) for one in tried)

        used = counted(trial.sampled for trial in trials)
        known = counted(experiment.values_among(point.fields) for point in self.known.points)
        return sorted(experiment.cells, key=lambda c: (used[key := key_of(c)], known[key]))

    def _within(
        self, cell: Mapping[str, Any], asked: Any, number: int, seen: set[str]
    ) -> Point | None:
        """A new point of one combination of grid values; None where there seems to be none."""
        experiment = self.experiment
        values = experiment.values(
            lambda name, domain: cell[name] if name in cell else suggested(domain, asked, name)
        )
        try:
            point = experiment.point(values, number)
            if key_of(values) not in seen and not self.known.skip(point.config):
                return point
            if values.keys() <= cell.keys():
                return None  # there is nothing to draw
        except ConfigurationError:
            pass  # the fields do not fit together: a random point instead
        rng = random.Random(f"{self.seed}/{experiment.name}/instead/{number}")
        return experiment.draw(rng, number, seen, self.known.skip, cell)

    def _study(self, trials: Sequence[Trial], number: int) -> Any:
        import optuna

        experiment = self.experiment
        rng = random.Random(f"{self.seed}/{experiment.name}/{number}")
        first = min(RANDOM_FIRST, max(4, experiment.size // 3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=rng.getrandbits(32), n_startup_trials=first, constant_liar=True
            )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for point in self.known.points:
            values = experiment.values_among(point.fields)
            study.add_trial(frozen_trial(experiment.domains, values, point.score))
        worst = min([0.0, *(s for t in trials if math.isfinite(s := best_score(t)))])
        for trial in trials:
            score = score_of(trial, worst)
            study.add_trial(frozen_trial(experiment.domains, trial.sampled, score))
        return study


def score_of(trial: Trial, worst: float) -> float | None:
    """The value of a trial for TPE: `worst` where it failed; None while it trains."""
    if not trial.is_finished:
        return None
    score = -math.inf if trial.failed else best_score(trial)
    return score if math.isfinite(score) else worst


def suggested(domain: Domain, asked: Any, name: str) -> Any:
    """The value of `domain` that an Optuna trial suggests."""
    kind = distribution(domain)
    if domain.is_list:
        return domain.from_optuna(asked.suggest_categorical(name, kind.choices))
    if domain.kind in ("randint", "quniform"):
        return domain.from_optuna(asked.suggest_int(name, kind.low, kind.high))
    return domain.from_optuna(asked.suggest_float(name, kind.low, kind.high, log=kind.log))


def distribution(domain: Domain) -> Any:
    """`domain` as an Optuna distribution; values are those of `Domain.to_optuna`."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if domain.is_list:
        return CategoricalDistribution([domain.to_optuna(value) for value in domain.values])
    if domain.kind == "quniform":
        return IntDistribution(0, domain.steps)
    if domain.kind == "randint":
        return IntDistribution(domain.low, domain.high)
    return FloatDistribution(domain.low, domain.high, log=domain.kind == "loguniform")


def frozen_trial(
    domains: Mapping[str, Domain], values: Mapping[str, Any], score: float | None
) -> Any:
    """An Optuna trial with those of its values that Optuna can use."""
    from optuna.trial import TrialState, create_trial

    converted = {name: d.to_optuna(values[name]) for name, d in domains.items() if name in values}
    params = {name: value for name, value in converted.items() if value is not None}
    return create_trial(
        state=TrialState.RUNNING if score is None else TrialState.COMPLETE,
        value=score,
        params=params,
        distributions={name: distribution(domains[name]) for name in params},
    )
