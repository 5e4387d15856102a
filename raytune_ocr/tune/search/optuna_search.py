"""Search by Optuna's tree-structured Parzen estimator (TPE)."""

from __future__ import annotations

import math
import random
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.schedulers.base import Trial, best_score, epochs_of
from raytune_ocr.tune.search.base import Searcher
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.domains import Domain
from raytune_ocr.tune.space.experiment import Experiment, Point, key_of

NAME = "search"
RANDOM_FIRST = 10  # trials before TPE models anything, fewer in small searches


class OptunaSearch(Searcher):
    """Suggests by TPE, which chooses the values of all domains but grids; grid values take turns.

    One Optuna study has the known points and the trials, in order. A stopped trial is a pruned one
    there, with the score of each epoch, so that TPE ranks it behind all that trained longer. A
    suggestion depends only on the seed, its number and the trials.

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
                f"--search {self.name}: Optuna is not installed; pip install 'raytune-ocr[optuna]'"
            ) from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._storage = optuna.storages.InMemoryStorage()
        study = optuna.create_study(storage=self._storage, study_name=NAME, direction="maximize")
        self._ids: dict[str, int] = {}  # of Optuna's trials, by name
        self._seen: set[str] = set()  # keys of the points of trials
        self._finished: set[str] = set()  # names of trials with their final state in the study
        self._unnamed: int | None = None  # of Optuna's trial of the newest suggestion
        domains = experiment.domains
        self._is_conditional = any(domain.when for domain in domains.values())
        kinds = {name: distribution(d) for name, d in domains.items() if d.kind != "grid"}
        self._space = {name: kind for name, kind in kinds.items() if not kind.single()}
        for point in known.points:
            values = experiment.values_among(point.fields)
            study.add_trial(frozen_trial(experiment.domains, values, point.score))

    def suggest(self, number: int, trials: Sequence[Trial]) -> Point | None:
        """Choose a point in the least used combination of grid values that has a new one."""
        self._update(trials)
        space = None if self._is_conditional else self._space
        sample = Sample(self.study(), self._sampler(number), self._new_trial(), space)
        fault: ConfigurationError | None = None
        for cell in self._cells(trials):
            try:
                point = self._within(cell, sample, number)
            except ConfigurationError as error:
                fault = error  # of this combination; another may have a valid point
                continue
            if point is not None:
                return point
        if fault:
            raise fault
        return None

    def study(self) -> Any:
        """Return a new view of the study, since a view caches the trials that it has read."""
        import optuna

        return optuna.load_study(study_name=NAME, storage=self._storage)

    def _update(self, trials: Sequence[Trial]) -> None:
        """Add new trials and reports to the study."""
        study = self._storage.get_study_id_from_name(NAME)
        for trial in trials:
            if trial.name not in self._ids:
                self._seen.add(key_of(trial.sampled))
                self._ids[trial.name] = self._added(study, trial)
            if trial.is_finished and trial.name not in self._finished:
                self._finished.add(trial.name)
                self._finish(self._ids[trial.name], trial)

    def _new_trial(self) -> Any:
        """Return Optuna's trial for the next suggestion; an unused one is taken again."""
        if self._unnamed is None:
            study = self._storage.get_study_id_from_name(NAME)
            self._unnamed = self._storage.create_new_trial(study)
        return self._storage.get_trial(self._unnamed)

    def _added(self, study: int, trial: Trial) -> int:
        """Return the number of Optuna's trial with the settings of a trial."""
        frozen = frozen_trial(self.experiment.domains, trial.sampled)
        number, self._unnamed = self._unnamed, None
        if number is None:
            return int(self._storage.create_new_trial(study, frozen))
        for name, kind in frozen.distributions.items():
            internal = kind.to_internal_repr(frozen.params[name])
            self._storage.set_trial_param(number, name, internal, kind)
        return number

    def _finish(self, number: int, trial: Trial) -> None:
        """Set the final state of an Optuna trial; a failed one gets the worst score."""
        from optuna.trial import TrialState

        score = -math.inf if trial.failed else best_score(trial)
        if not math.isfinite(score):
            self._storage.set_trial_state_values(number, TrialState.PRUNED)
            return
        for epoch, value in trial.curve.items():
            if math.isfinite(value):
                self._storage.set_trial_intermediate_value(number, epoch, value)
        state = TrialState.COMPLETE if self._is_whole(trial) else TrialState.PRUNED
        self._storage.set_trial_state_values(number, state, [score])

    def _is_whole(self, trial: Trial) -> bool:
        """Whether a trial counts as a complete one of the study."""
        return epochs_of(trial) >= trial.max_epochs

    @property
    def independent(self) -> int:
        """Return the number of suggestions before TPE has a model, less the known points."""
        return max(0, self._random_first - len(self.known.points))

    @property
    def _random_first(self) -> int:
        return min(RANDOM_FIRST, max(4, self.experiment.size // 3))

    def _sampler(self, number: int) -> Any:
        import optuna

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(
                seed=self._sampler_seed(number),
                n_startup_trials=self._random_first,
                constant_liar=True,
                multivariate=True,
                group=self._is_conditional,
            )

    def _sampler_seed(self, number: int) -> int:
        return random.Random(f"{self.seed}/{self.experiment.name}/{number}").getrandbits(32)

    def _cells(self, trials: Sequence[Trial]) -> list[dict[str, Any]]:
        """Return the combinations of grid values, the least used first."""
        experiment = self.experiment
        grids = {name for name, domain in experiment.domains.items() if domain.kind == "grid"}
        if not grids:
            return experiment.cells

        def counted(tried: Iterable[Mapping[str, Any]]) -> Counter[str]:
            return Counter(key_of({n: v for n, v in one.items() if n in grids}) for one in tried)

        used = counted(trial.sampled for trial in trials)
        known = counted(experiment.values_among(point.fields) for point in self.known.points)
        return sorted(experiment.cells, key=lambda c: (used[key := key_of(c)], known[key]))

    def _within(self, cell: Mapping[str, Any], sample: Sample, number: int) -> Point | None:
        """Return a new point of one combination of grid values; None if there seems to be none."""
        experiment = self.experiment
        values = experiment.values(
            lambda name, domain: cell[name] if name in cell else sample.value(domain, name)
        )
        try:
            point = experiment.point(values, number)
            if key_of(values) not in self._seen and not self.known.skip(point.config):
                return point
            if values.keys() <= cell.keys():
                return None  # nothing to draw
        except ConfigurationError:
            pass  # an invalid combination of fields: draw a random point instead
        rng = random.Random(f"{self.seed}/{experiment.name}/instead/{number}")
        return experiment.draw(rng, number, self._seen, self.known.skip, cell)


class Sample:
    """Values for one new trial: some the sampler chooses jointly, others one at a time.

    Args:
        study: an Optuna study.
        sampler: an Optuna sampler.
        trial: of the study; it runs and has no values yet.
        space: the distributions that are chosen jointly; None: those that the study's trials have
            in common, group by group, which takes longer to find.
    """

    def __init__(
        self, study: Any, sampler: Any, trial: Any, space: Mapping[str, Any] | None = None
    ) -> None:
        self._study = study
        self._sampler = sampler
        self._trial = trial
        if space is None:
            space = sampler.infer_relative_search_space(study, trial)
        self._together = sampler.sample_relative(study, trial, space)
        self._values: dict[str, Any] = {}

    def value(self, domain: Domain, name: str) -> Any:
        """Return the value of a domain; repeated calls return the same value."""
        if name not in self._values:
            drawn = self._together[name] if name in self._together else self._alone(domain, name)
            self._values[name] = domain.from_optuna(drawn)
        return self._values[name]

    def _alone(self, domain: Domain, name: str) -> Any:
        kind = distribution(domain)
        return self._sampler.sample_independent(self._study, self._trial, name, kind)


def distribution(domain: Domain) -> Any:
    """Return `domain` as an Optuna distribution of the values of `Domain.to_optuna`."""
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
    domains: Mapping[str, Domain], values: Mapping[str, Any], score: float | None = None
) -> Any:
    """Return an Optuna trial with the values that Optuna can use; without a score it is running."""
    from optuna.trial import TrialState, create_trial

    converted = {name: d.to_optuna(values[name]) for name, d in domains.items() if name in values}
    params = {name: value for name, value in converted.items() if value is not None}
    return create_trial(
        state=TrialState.RUNNING if score is None else TrialState.COMPLETE,
        value=score,
        params=params,
        distributions={name: distribution(domains[name]) for name in params},
    )
