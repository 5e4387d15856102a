"""Make the records of a run's trials and clones, and its scheduler."""

from __future__ import annotations

import logging
from collections.abc import Iterable, MutableMapping
from dataclasses import replace

from raytune_ocr.config.changes import CHANGEABLE, PARAMETER
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.decision import Decision
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.options import TuneOptions
from raytune_ocr.tune.registries import AUTO, SCHEDULERS
from raytune_ocr.tune.schedulers.automatic import pick
from raytune_ocr.tune.schedulers.base import Scheduler, Setup
from raytune_ocr.tune.search.earlier import earlier_studies
from raytune_ocr.tune.search.plan import Plan
from raytune_ocr.tune.space.experiment import Experiment, Point

logger = logging.getLogger(__name__)


def settle_scheduler(plan: Plan[TrialRecord], options: TuneOptions) -> TuneOptions:
    """The options with the scheduler that `auto` picks for the plan's trials."""
    if options.scheduler != AUTO or not plan.size:
        return options
    limit = options.max_trials or plan.size
    samples = sum(e.size for e in plan.space.experiments.values() if e.is_search)
    picked = pick(
        min(samples, limit),
        min(plan.size - samples, limit),
        _longest(record.config for record in plan.examples()),
        plan.adaptive,
    )
    logger.info(
        "scheduler auto: %s with a grace period of %d, for %s",
        *(picked.scheduler, picked.grace_period, picked.why),
    )
    return replace(options, scheduler=picked.scheduler, grace_period=picked.grace_period)


def _longest(configs: Iterable[TrainingConfig]) -> int:
    return max((config.num_epochs for config in configs), default=0)


def scheduler_of(plan: Plan[TrialRecord], options: TuneOptions) -> Scheduler:
    """Return the scheduler that the options name, set up for all trials that the plan may add."""
    configs = [record.config for record in plan.examples()]
    setup = Setup(
        grace_period=options.grace_period,
        reduction_factor=options.reduction_factor,
        max_epochs=_longest(configs),
        max_trials=options.max_trials,
        num_trials=min(plan.size, options.max_trials or plan.size),
        epoch_budget=options.epoch_budget,
        seed=plan.space.seed,
        domains={e.name: e.domains for e in plan.space.experiments.values()},
        changeable=(*CHANGEABLE, *_parameters_that_change(configs)),
        earlier=earlier_studies(plan.known, plan.space.experiments.values()),
    )
    if options.scheduler == AUTO:  # of no trials yet
        return Scheduler(setup)
    scheduler: Scheduler = SCHEDULERS[options.scheduler](setup)
    return scheduler


def _parameters_that_change(configs: Iterable[TrainingConfig]) -> list[str]:
    """Return the parameters of own tasks that may change while a trial trains."""
    return list(dict.fromkeys(PARAMETER + name for each in configs for name in each.changeable))


def record_of(experiment: Experiment, point: Point) -> TrialRecord:
    """Return the record of a trial that has not begun."""
    return TrialRecord(
        point.config,
        search=experiment.name if experiment.is_search else "",
        sampled=dict(point.values),
        resources=experiment.resources,
    )


def clone_of(parent: TrialRecord, decision: Decision) -> TrialRecord:
    """Return the record of a trial that shares `parent`'s epochs up to the decision's."""
    epoch = decision.epoch
    changes = {change["after_epoch"]: dict(change) for change in parent.config.changes}
    changes[epoch] = {
        **changes.get(epoch, {}),
        "after_epoch": epoch,
        **decision.state["settings"],
    }
    config = replace(
        parent.config,
        experiment_name=decision.trial,
        changes=[changes[after] for after in sorted(changes)],
    )
    return TrialRecord(
        config,
        search=parent.search,
        sampled=dict(parent.sampled),
        resources=parent.resources,
        parent=parent.name,
        parent_epoch=epoch,
    )


def describe_clone(child: TrialRecord, decision: Decision) -> str:
    """Say which trial a clone replaces, and what it continues from."""
    settings = ", ".join(f"{k} {v:g}" for k, v in decision.state["settings"].items())
    return (
        f"{child.name} replaces {decision.state['replaces']}: continues from epoch "
        f"{child.parent_epoch} of {child.parent} with {settings}"
    )


def inherit(child: TrialRecord, parent: TrialRecord) -> None:
    """Copy to a clone the epochs that it shares with its parent."""
    for row in parent.epochs:
        if row["epoch"] <= child.parent_epoch:
            child.add(row)
    child.used = dict(parent.used)


def restore_clones(
    trials: MutableMapping[str, TrialRecord], decisions: Iterable[Decision], journal: str
) -> None:
    """Add the clones that earlier parts of the run made, without their epochs.

    Args:
        journal: the name of its file, for messages.

    Raises:
        ConfigurationError: a decision's settings break a rule.
    """
    for decision in decisions:
        parent = trials.get(decision.state.get("parent", ""))
        if parent is not None:
            try:
                trials[decision.trial] = clone_of(parent, decision)
            except ConfigurationError as error:
                raise ConfigurationError(f"{journal}: {decision.trial}: {error}") from None
