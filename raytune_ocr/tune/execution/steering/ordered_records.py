"""Make and change the records of a run as orders of users say."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_ocr.config.changes import PARAMETER
from raytune_ocr.config.rules import LONGEST_NAME, shown
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError, RaytuneOCRError, unknown_name
from raytune_ocr.results.decision import ORDER, Decision
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.results.steering.orders import ADD, CLONE, EXTEND, Order, order_of
from raytune_ocr.tune.execution.planning import record_of, restore_clones
from raytune_ocr.tune.space.search_space import Space, read_space
from raytune_ocr.tune.storage.mirror import RunCopy, newest_state

IMPORTING = ("imports", "trainable", "task")
"""Settings that name modules, which are imported; the latter two as `module:name`."""
NOT_CLONED = ("experiment_name", "output_dir", *IMPORTING)


@dataclass(frozen=True)
class OrderedRecords:
    """Makes the records of trials that orders add.

    Attributes:
        output_dir: of the run.
        space: of the run: what its file says for all experiments, and the modules that it has
            imported; an order imports no others.
    """

    output_dir: str
    space: Space

    def make(
        self, order: Order, parent: TrialRecord | None, taken: Container[str] = ()
    ) -> TrialRecord:
        """Return the record of a trial to add, or of a clone of `parent`.

        Args:
            taken: names of trials that there are.

        Raises:
            ConfigurationError: a value breaks a rule, the name is taken, or the model is wrong.
        """
        record = self._added(order) if parent is None else self._cloned(order, parent, taken)
        if record.name in taken:
            raise ConfigurationError(
                f"{order.action}: {record.name} must be the name of a new trial; there is one"
            )
        try:
            record.task.check(record.config)
        except RaytuneOCRError as error:
            raise ConfigurationError(f"{order.action}: {record.name}: {error}") from None
        return record

    def _added(self, order: Order) -> TrialRecord:
        preset, changes = order.arguments.get("preset", {}), order.arguments.get("set", {})
        self._check_imports(order, [preset, changes])
        own = {n: v for n, v in changes.items() if n.startswith(PARAMETER)}
        parameters = {name.removeprefix(PARAMETER): value for name, value in own.items()}
        if parameters:
            parameters = {**_mapping(order, preset.get("parameters")), **parameters}
            preset = {**preset, "parameters": parameters}
        shared = {n: v for n, v in self.space.shared.items() if n != "num_samples"}  # it is one
        space = read_space(
            {**shared, "experiments": {str(order.trial): preset}},
            "add",
            {**self.space.overrides, **{n: v for n, v in changes.items() if n not in own}},
            output_dir=self.output_dir,
        )
        (experiment,) = space.experiments.values()
        if experiment.is_search:
            raise ConfigurationError(
                f"add: {order.trial}: must have constant values, got domains for "
                f"{', '.join(experiment.domains)}; add a trial for each value"
            )
        (point,) = space.points[experiment.name]
        return record_of(experiment, point)

    def _cloned(self, order: Order, parent: TrialRecord, taken: Container[str]) -> TrialRecord:
        changes = dict(order.arguments["set"])
        for name in NOT_CLONED:
            if name in changes:
                raise ConfigurationError(f"clone: set: {name} must not be changed in a clone")
        if not changes:
            raise ConfigurationError("clone: set: must change at least one setting, got none")
        was, parameters = parent.config.to_dict(), dict(parent.config.parameters)
        for name in [name for name in changes if name.startswith(PARAMETER)]:
            own = name.removeprefix(PARAMETER)
            if own not in parameters:
                raise ConfigurationError(
                    f"clone: set: {unknown_name('parameter', own, parameters)}"
                )
            parameters[own] = changes.pop(name)
        if parameters:
            changes["parameters"] = {**parameters, **_mapping(order, changes.get("parameters"))}
        named = order.arguments.get("name") or clone_name(parent.name, taken)
        config = {**was, **changes, "experiment_name": named}
        if "early_stopping_monitor" in changes and "early_stopping_mode" not in changes:
            config.pop("early_stopping_mode")
        made = TrainingConfig.from_dict(config, environment={})
        return TrialRecord(made, resources=parent.resources)

    def _check_imports(self, order: Order, contents: Iterable[Mapping[str, Any]]) -> None:
        imported = self.space.imports
        for name in itertools.chain.from_iterable(map(modules_in, contents)):
            if name not in imported:
                raise ConfigurationError(
                    f"{order.action}: must name modules that the run has imported "
                    f"({', '.join(imported) or 'none'}), got {name}"
                )

    def restore(
        self, trials: MutableMapping[str, TrialRecord], decisions: Iterable[Decision], journal: str
    ) -> None:
        """Add and extend trials as earlier parts of the run did, clones of schedulers included.

        Args:
            journal: the name of its file, for messages.

        Raises:
            ConfigurationError: a decision's settings break a rule.
        """
        for decision in decisions:
            if decision.decision != ORDER:
                restore_clones(trials, [decision], journal)
                continue
            order = order_of(decision)
            trial = trials.get(order.trial or "")
            if order.action == ADD or (order.action == CLONE and trial is not None):
                record = self.make(order, None if order.action == ADD else trial)
                trials[record.name] = record
            elif order.action == EXTEND and trial is not None:
                trial.config = extended(trial.config, order.arguments["epochs"])


def _mapping(order: Order, value: Any) -> dict[str, Any]:
    """Return parameters as a mapping; None stands for none."""
    if value is not None and not isinstance(value, Mapping):
        raise ConfigurationError(
            f"{order.action}: parameters: must be a mapping, got {shown(value)}"
        )
    return dict(value or {})


def modules_in(content: Any) -> Iterator[str]:
    """Yield the modules that settings at any depth name."""
    if not isinstance(content, Mapping):
        return
    for key, value in content.items():
        setting = str(key).rpartition(".")[2]
        if setting in IMPORTING:
            names = [str(name) for name in (value if isinstance(value, list) else [value]) if name]
            # A task by its registered name has no module.
            yield from (n.partition(":")[0] for n in names if ":" in n or setting == "imports")
        else:
            yield from modules_in(value)


def clone_name(parent: str, taken: Container[str]) -> str:
    """Return `fast_c1` for a clone of `fast`; never a taken name."""
    endings = (f"_c{number}" for number in itertools.count(1))
    names = (parent[: LONGEST_NAME - len(ending)] + ending for ending in endings)
    return next(name for name in names if name not in taken)


def extended(config: TrainingConfig, epochs: int) -> TrainingConfig:
    """Return a config with another last epoch."""
    return TrainingConfig.from_dict({**config.to_dict(), "num_epochs": epochs}, environment={})


def check_state(folder: Path, copy: RunCopy, trial: TrialRecord) -> None:
    """Raise ConfigurationError if a finished trial has no state of its last epoch to continue."""
    copy.pull_trial(trial.name)
    if newest_state(folder / trial.name) is None:
        raise ConfigurationError(
            f"extend: {trial.name} ended, and its state is no longer kept; clone it instead"
        )
