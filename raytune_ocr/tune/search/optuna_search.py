"""Search by Optuna's tree-structured Parzen estimator."""

from __future__ import annotations

import math
import random
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.journal import KeptTrial
from raytune_ocr.results.record import FINISHED, TrialRecord
from raytune_ocr.tune.search.random_search import RandomSearch, record_of
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.domains import Domain
from raytune_ocr.tune.space.experiment import Experiment, Point, key_of
from raytune_ocr.tune.space.search_space import Space

RANDOM_FIRST = 10  # trials before Optuna's sampler models anything, fewer in small searches


DATA_FIELDS = ("dataset_name", "dataset_options", "metadata_path", "train_split", "val_split")


class OptunaSearch(RandomSearch):
    """Searched experiments by Optuna's tree-structured Parzen estimator, presets first.

    The study is built anew for each trial, from the records and the known points. It chooses the
    values of all domains but grids, whose combinations come in turn.

    Raises:
        ConfigurationError: when Optuna is not installed, or the data itself is searched.
    """

    adaptive = True

    def __init__(
        self, space: Space, known: KnownPoints | None = None, max_trials: int | None = None
    ) -> None:
        super().__init__(space, known, max_trials)
        try:
            import optuna
        except ImportError:
            raise ConfigurationError(
                "--search optuna: Optuna is not installed; pip install 'raytune-ocr[optuna]'"
            ) from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        problems = [
            f"{'.'.join(map(str, (e.place, *domain.path)))}: cannot be searched by Optuna, since "
            "data is read before the first trial; use --search random, or one experiment for each"
            for e in space.experiments.values()
            for name, domain in e.domains.items()
            if name.split(".")[0] in DATA_FIELDS
        ]
        if problems:
            raise ConfigurationError("\n".join(problems))

    def first(self, begun: Collection[str] = ()) -> list[TrialRecord]:
        """The presets."""
        return self._capped([record for record in self._all() if not record.search], begun)

    def restored(self, kept: Mapping[str, KeptTrial]) -> list[TrialRecord]:
        """The searched ones."""
        records = []
        for name, trial in kept.items():
            experiment = self.space.experiments.get(trial.search)
            if experiment is not None and (number := number_of(name)):
                point = experiment.point(trial.sampled, number)
                records.append(record_of(experiment, point))
        return records

    def next(self, records: Mapping[str, TrialRecord]) -> TrialRecord | None:
        """The next trial of the first search that has not had all of its own."""
        begun = [record for record in records.values() if not record.confirms]
        if self.max_trials is not None and len(begun) >= self.max_trials:
            return None
        for experiment in self.space.experiments.values():
            mine = [record for record in begun if record.search == experiment.name]
            if experiment.is_search and len(mine) < experiment.size:
                point = self._suggest(experiment, mine)
                if point is not None:
                    return record_of(experiment, point)
        return None

    def _suggest(self, experiment: Experiment, mine: Sequence[TrialRecord]) -> Point | None:
        number = 1 + max((number_of(record.name) for record in mine), default=0)
        seen = {key_of(record.sampled) for record in mine}
        trial = self._study(experiment, mine, number).ask()
        fault: ConfigurationError | None = None
        for cell in self._cells(experiment, mine):
            try:
                point = self._within(experiment, cell, trial, number, seen)
            except ConfigurationError as error:
                fault = error  # of this combination; another one may do
                continue
            if point is not None:
                return point
        if fault:
            raise fault
        return None

    def _cells(self, experiment: Experiment, mine: Sequence[TrialRecord]) -> list[dict[str, Any]]:
        """The combinations of its grids, the least used first, of these the least known."""
        grids = {name for name, domain in experiment.domains.items() if domain.kind == "grid"}
        if not grids:
            return experiment.cells

        def counted(tried: Iterable[Mapping[str, Any]]) -> Counter[str]:
            return Counter(key_of({n: v for n, v in one.items() if n in grids}) for one in tried)

        used = counted(record.sampled for record in mine)
        known = counted(experiment.values_among(point.fields) for point in self.known.points)
        return sorted(experiment.cells, key=lambda c: (used[key := key_of(c)], known[key]))

    def _within(
        self,
        experiment: Experiment,
        cell: Mapping[str, Any],
        trial: Any,
        number: int,
        seen: set[str],
    ) -> Point | None:
        """A new point of one combination of grids; None where there seems to be none left."""
        values = experiment.values(
            lambda name, domain: cell[name] if name in cell else suggest(domain, trial, name)
        )
        try:
            point = experiment.point(values, number)
            if key_of(values) not in seen and not self.known.skip(point.config):
                return point
            if values.keys() <= cell.keys():
                return None  # there is nothing to draw
        except ConfigurationError:
            pass  # of fields that do not fit together: one at random instead
        rng = random.Random(f"{self.space.seed}/{experiment.name}/instead/{number}")
        return experiment.draw(rng, number, seen, self.known.skip, cell)

    def _study(self, experiment: Experiment, mine: Sequence[TrialRecord], number: int) -> Any:
        import optuna

        rng = random.Random(f"{self.space.seed}/{experiment.name}/{number}")
        first = min(RANDOM_FIRST, max(4, experiment.size // 3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=rng.getrandbits(32), n_startup_trials=first, constant_liar=True
            )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for point in self.known.points:
            values = experiment.values_among(point.fields)
            study.add_trial(_told(experiment.domains, values, point.score))
        for record in mine:
            study.add_trial(_told(experiment.domains, record.sampled, score_of_record(record)))
        return study


def number_of(name: str) -> int:
    """Of the trial of a search, from 1; 0 where the name ends in none."""
    number = name.rpartition("_")[2]
    return int(number) if number.isdigit() else 0


def score_of_record(record: TrialRecord) -> float | None:
    """What Optuna is told of a trial: 0..1, 0 where it failed; None while it runs."""
    if record.status not in FINISHED:
        return None
    if record.status == "failed":  # whatever it reached before: it cannot win
        return 0.0
    names = ("val_char_accuracy", "val_accuracy")
    found = (record.best.get(name, math.nan) for name in names)
    return next((value for value in found if not math.isnan(value)), 0.0)


def suggest(domain: Domain, trial: Any, name: str) -> Any:
    """A value of `domain` from an Optuna trial."""
    kind = distribution(domain)
    if domain.is_list:
        return domain.untold(trial.suggest_categorical(name, kind.choices))
    if domain.kind in ("randint", "quniform"):
        return domain.untold(trial.suggest_int(name, kind.low, kind.high))
    return domain.untold(trial.suggest_float(name, kind.low, kind.high, log=kind.log))


def distribution(domain: Domain) -> Any:
    """`domain` as Optuna says it; values are those of `Domain.told`."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if domain.is_list:
        return CategoricalDistribution([domain.told(value) for value in domain.values])
    if domain.kind == "quniform":
        return IntDistribution(0, domain.steps)
    if domain.kind == "randint":
        return IntDistribution(domain.low, domain.high)
    return FloatDistribution(domain.low, domain.high, log=domain.kind == "loguniform")


def _told(domains: Mapping[str, Domain], values: Mapping[str, Any], score: float | None) -> Any:
    """A trial that Optuna did not suggest itself, with those of its values that it can use."""
    from optuna.trial import TrialState, create_trial

    told = {name: d.told(values[name]) for name, d in domains.items() if name in values}
    params = {name: value for name, value in told.items() if value is not None}
    return create_trial(
        state=TrialState.RUNNING if score is None else TrialState.COMPLETE,
        value=score,
        params=params,
        distributions={name: distribution(domains[name]) for name in params},
    )
