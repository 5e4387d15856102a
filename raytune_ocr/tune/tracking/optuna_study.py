"""An Optuna study beside the journal, for `optuna-dashboard` and Optuna's plots.

Each trial of the search is one trial of the study of its metric; those that confirm others are not
in it. It has the state that Optuna knows: COMPLETE, PRUNED (by the scheduler) or FAIL once it is
over, RUNNING before, also while it is paused or was cut short, since a resume trains it further.
"""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raytune_ocr.config.changes import PARAMETER
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.aggregate import hyperparameters
from raytune_ocr.results.optuna_storage import METRIC_ATTRIBUTE, NAME_ATTRIBUTE, open_storage
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.space.domains import Domain

logger = logging.getLogger(__name__)

OPTION = "--optuna-storage"
RETRIED = "failed_trial"  # the number of the trial that this one tries again, as Optuna names it


@dataclass
class Written:
    """What a study has of a trial."""

    number: int
    values: dict[int, float] = field(default_factory=dict)
    is_finished: bool = False


class OptunaStudies:
    """Writes trials of a run into Optuna's studies; a second write changes nothing.

    A study is named after the folder, the run and its metric: `training_output-3f2a-val_loss`.

    Args:
        source: a database URL, or the file of an Optuna journal.
        run: the name of the run, the same after a resume.
        domains: of all experiments, by setting.
        records: trials that are known from the start; settings in which they differ are parameters
            as well.

    Raises:
        ConfigurationError: the storage cannot be used.
    """

    def __init__(
        self,
        source: str,
        run: str,
        domains: Iterable[Mapping[str, Domain]],
        records: Sequence[TrialRecord],
    ) -> None:
        try:
            self._storage = open_storage(source)
        except ConfigurationError as error:
            raise ConfigurationError(f"{OPTION}: {error}") from None
        self.run = run
        found = distributions(domains, records)
        self._names = plain_names(found)
        self._distributions = {self._names[name]: kind for name, kind in found.items()}
        self._studies: dict[str, int] = {}
        self._written: dict[str, Written] = {}
        self._warned = False

    def note(self, record: TrialRecord) -> None:
        """Bring a trial up to date; a storage that fails costs a warning, not the run."""
        if record.confirms or not (record.epochs or record.is_finished):
            return
        try:
            self._write(record)
        except Exception as error:  # the classes of any database driver
            if not self._warned:
                logger.warning("%s: cannot be written now, retrying later: %s", OPTION, error)
            self._warned = True

    def _write(self, record: TrialRecord) -> None:
        metric = record.task.monitor(record.config)
        study = self._study(metric.name, metric.mode)
        written = self._written.get(record.name)
        if written is None or (written.is_finished and not record.is_finished):
            written = self._written[record.name] = self._added(study, record, written)
        if written.is_finished:
            return
        for row in record.epochs:
            value = row.get(metric.name)
            if (
                value is not None
                and math.isfinite(value)
                and written.values.get(row["epoch"]) != value
            ):
                self._storage.set_trial_intermediate_value(written.number, row["epoch"], value)
                written.values[row["epoch"]] = value
        if record.is_over:
            self._finish(written, record, record.best.get(metric.name))

    def _study(self, metric: str, mode: str) -> int:
        """The study of a metric, made or opened; trials that it has are known from then on."""
        if metric in self._studies:
            return self._studies[metric]
        import optuna

        study = optuna.create_study(
            storage=self._storage,
            study_name=f"{self.run}-{metric}",
            direction="minimize" if mode == "min" else "maximize",
            load_if_exists=True,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([metric])
        study.set_user_attr(METRIC_ATTRIBUTE, metric)
        for trial in study.get_trials(deepcopy=False):
            self._distributions |= _kept(self._distributions, trial.distributions)
            if name := trial.user_attrs.get(NAME_ATTRIBUTE):
                done = trial.state.is_finished()
                known = Written(trial._trial_id, dict(trial.intermediate_values), done)
                self._written[name] = known
        self._studies[metric] = study._study_id
        return study._study_id

    def _added(self, study: int, record: TrialRecord, before: Written | None) -> Written:
        """Add a trial with its parameters, in one step, so that a crash leaves all or nothing."""
        from optuna.trial import TrialState, create_trial

        attributes = {NAME_ATTRIBUTE: record.name, "seed": record.config.seed}
        attributes |= {n: v for n in ("search", "parent") if (v := getattr(record, n))}
        if before is not None:
            attributes[RETRIED] = self._storage.get_trial(before.number).number
        settings = hyperparameters(record).items()
        values = {self._names.get(name, name): plain(value) for name, value in settings}
        chosen = {n: d for n, d in self._distributions.items() if _fits(d, values.get(n))}
        others = {n: v for n, v in values.items() if n not in chosen and n in self._distributions}
        template = create_trial(
            state=TrialState.RUNNING,
            params={name: values[name] for name in chosen},
            distributions=chosen,
            user_attrs={**attributes, **others},
        )
        return Written(self._storage.create_new_trial(study, template))

    def _finish(self, written: Written, record: TrialRecord, value: float | None) -> None:
        from optuna.trial import TrialState

        for name, attribute in _outcome(record).items():
            self._storage.set_trial_user_attr(written.number, name, attribute)
        known = value is not None and math.isfinite(value)
        if record.failed or not known:
            state, values = TrialState.FAIL, None
        else:
            pruned = record.stop_reason == "scheduler"
            state, values = TrialState.PRUNED if pruned else TrialState.COMPLETE, [value]
        self._storage.set_trial_state_values(written.number, state, values)
        written.is_finished = True


def _outcome(record: TrialRecord) -> dict[str, Any]:
    """Return the attributes of an ended trial: the finite figures of its best epoch, its reason."""
    best = record.best
    figures = {name: best.get(name) for name in record.columns}
    figures |= {key: best.get(metric) for key, metric in record.task.figures.items()}
    figures |= {
        "best_epoch": best.get("epoch"),
        "training_time": sum(row["seconds"] for row in record.epochs),
        "stop_reason": record.stop_reason,
        "error_message": record.error_message or None,
    }
    return {
        name: value
        for name, value in figures.items()
        if value is not None and not (isinstance(value, float) and not math.isfinite(value))
    }


def distributions(
    domains: Iterable[Mapping[str, Domain]], records: Sequence[TrialRecord]
) -> dict[str, Any]:
    """Return Optuna's distribution of each setting that differs between trials.

    Optuna has one for all trials of a study, so that of a setting holds what every experiment may
    choose, and the constants of the others.
    """
    searched: dict[str, list[Domain]] = {}
    for each in domains:
        for name, domain in each.items():
            searched.setdefault(name, []).append(domain)
    constants: dict[str, list[Any]] = {}
    for record in records:
        for name, value in hyperparameters(record).items():
            if name not in record.sampled and plain(value) not in constants.setdefault(name, []):
                constants[name].append(plain(value))
    found = {
        name: _distribution(searched.get(name, []), constants.get(name, []))
        for name in {**searched, **constants}
    }
    return {name: kind for name, kind in found.items() if kind is not None}


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Return for each setting the name that a study has: of a parameter of one's own its own."""
    known = set(names)
    short = {name: name.removeprefix(PARAMETER) for name in known}
    return {name: name if short[name] in known else short[name] for name in known}


def _distribution(domains: Sequence[Domain], constants: Sequence[Any]) -> Any:
    """Return the distribution of all of them; None where there is one value alone."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    listed = [plain(value) for domain in domains if domain.is_list for value in domain.values]
    choices = [*dict.fromkeys([*listed, *constants])]
    ranges = [domain for domain in domains if not domain.is_list]
    if not ranges:
        return CategoricalDistribution(choices) if len(choices) > 1 else None
    numbers = [value for value in choices if _is_number(value)]
    low = min([domain.low for domain in ranges] + numbers)
    high = max([domain.high for domain in ranges] + numbers)
    if all(isinstance(value, int) for domain in ranges for value in domain.values) and all(
        isinstance(value, int) for value in numbers
    ):
        return IntDistribution(low, high)
    log = low > 0 and any(domain.kind == "loguniform" for domain in ranges)
    return FloatDistribution(low, high, log=log)


def _kept(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a study's distributions that Optuna does not let us replace by ours."""
    from optuna.distributions import check_distribution_compatibility

    kept = {}
    for name, kind in theirs.items():
        try:
            check_distribution_compatibility(kind, ours.get(name, kind))
        except ValueError:
            kept[name] = kind
    return kept


def _fits(distribution: Any, value: Any) -> bool:
    """Whether a distribution holds a value of the same kind as its own."""
    from optuna.distributions import CategoricalDistribution

    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    return _is_number(value) and distribution._contains(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def plain(value: Any) -> Any:
    """A value that Optuna may choose: numbers, flags, text and None; others as JSON."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return json.dumps(value, sort_keys=True, default=str)
