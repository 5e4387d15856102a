"""Choose the options of a run: the caller's, the resumed run's, the file's; and check them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from raytune_ocr.config.prices import Prices
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.options import TUNING, TuneOptions, read_option
from raytune_ocr.tune.registries import AUTO, SCHEDULERS, SEARCHERS
from raytune_ocr.tune.schedulers.base import Scheduler

KEPT_OPTIONS = (
    *("search", "num_samples", "warm_start", "refine", "library"),
    *("scheduler", "grace_period", "reduction_factor", "epoch_budget"),
    *("confirm", "confirm_seeds", "keep_models"),
)
"""Options that define a run: a resumed run keeps them unless the caller gives others."""


def chosen_options(
    given: Mapping[str, Any],
    tuning: Mapping[str, Any] | None = None,
    earlier: Mapping[str, Any] | None = None,
) -> TuneOptions:
    """Return the options of a run: the caller's first, then the resumed run's, then the file's.

    Args:
        given: by the caller; None or an empty list for options that are not given.
        tuning: the file's checked section.
        earlier: `KEPT_OPTIONS` of the resumed run.

    Raises:
        ConfigurationError: all problems, one per line.
    """
    problems = []
    options = {name: value for name, value in (tuning or {}).items() if name != "num_samples"}
    for name, value in (earlier or {}).items():
        if name in KEPT_OPTIONS and value is not None:
            place = f"run_state.jsonl: run.{name}"
            options[name] = read_option(name, value, place) if name in TUNING else value
    for name, value in given.items():
        if value is None or value == ():
            continue
        try:
            known = name in TUNING
            options[name] = read_option(name, value, _flag(name)) if known else value
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    if options.get("overwrite") and (options.get("resume") or options.get("resume_if_any")):
        raise ConfigurationError(
            "--overwrite: must not be given with --resume, which continues the run"
        )
    if options.get("retry_failed") and not (options.get("resume") or options.get("resume_if_any")):
        raise ConfigurationError("--retry-failed: must be given with --resume")
    if options.get("scheduler") == AUTO and (earlier or {}).get("scheduler"):
        options |= {name: (earlier or {})[name] for name in ("scheduler", "grace_period")}
    _check_scheduler(options, earlier or {})
    for name in ("warm_start", "refine"):
        options[name] = [str(Path(str(source)).absolute()) for source in options.get(name, ())]
    if options.get("library"):
        options["library"] = str(Path(str(options["library"])).absolute())
    return TuneOptions(**options)


def not_followed(
    given: Mapping[str, Any], tuning: Mapping[str, Any], earlier: Mapping[str, Any]
) -> list[str]:
    """Return a line for each option of the file that a resumed run ignores.

    The arguments are those of `chosen_options`.
    """
    lines = []
    for name, value in tuning.items():
        before = earlier.get(name)
        if name not in KEPT_OPTIONS or before in (None, value) or given.get(name) is not None:
            continue
        if value == AUTO:
            continue
        pauses = name == "scheduler" and any(SCHEDULERS[n].pauses for n in (value, before))
        way = "choose another --output-dir" if pauses else f"give {_flag(name)} {value}"
        lines.append(
            f"--resume: tuning.{name}: {value} in the file is ignored: the run keeps {before}; to "
            f"use {value}, {way}"
        )
    return lines


def _check_scheduler(options: Mapping[str, Any], earlier: Mapping[str, Any]) -> None:
    """Raise ConfigurationError if the scheduler does not fit the search or the resumed run."""
    scheduler = options.get("scheduler", TuneOptions.scheduler)
    search = options.get("search", TuneOptions.search)
    if scheduler == AUTO:
        return
    if SCHEDULERS[scheduler].needs_all_trials and SEARCHERS[search].adaptive:
        raise ConfigurationError(
            f"--scheduler: {scheduler} must be used with --search random, because it starts all "
            f"trials before any of them ends, got --search {search}"
        )
    budget = options.get("epoch_budget")
    has_budget = SCHEDULERS[scheduler].is_spent is not Scheduler.is_spent
    if budget not in (None, earlier.get("epoch_budget")) and not has_budget:
        raise ConfigurationError(
            f"--epoch-budget: must be left out with --scheduler {scheduler}, which has no budget "
            "of epochs; use --scheduler freeze-thaw, or limit the run by --time-budget"
        )
    before = str(earlier.get("scheduler", scheduler))
    if scheduler != before and (SCHEDULERS[scheduler].pauses or SCHEDULERS[before].pauses):
        raise ConfigurationError(
            f"--scheduler: must be {before}, as at the start of the run, got {scheduler}; to use "
            f"{scheduler}, choose another --output-dir"
        )


def check_prices(options: TuneOptions, prices: Prices | None) -> None:
    """Raise ConfigurationError if a cost is limited without prices."""
    if options.max_cost is not None and prices is None:
        raise ConfigurationError(
            "--max-cost: must be used with prices in the file, such as prices: {gpu_hour: 1.10, "
            f"cpu_hour: 0.04}}, got --max-cost {options.max_cost:g} without prices"
        )


def check_comparable(configs: Iterable[tuple[str, TrainingConfig]], scheduler: str) -> None:
    """Raise ConfigurationError if the scheduler would compare metrics of opposite directions.

    Args:
        configs: of the trials, each with its experiment's name.
    """
    if not SCHEDULERS[scheduler].compares_trials:
        return
    first: dict[str, str] = {}
    for name, config in configs:
        _check_changeable(name, config, scheduler)
        mode, monitor = config.early_stopping_mode, config.early_stopping_monitor
        first.setdefault(mode, f"{name}, {monitor} ({mode})")
    if len(first) > 1:
        raise ConfigurationError(
            f"--scheduler: {scheduler} must compare metrics of one early_stopping.mode, got "
            f"{' and '.join(first.values())}; give all trials the same metric (--set "
            "early_stopping.monitor=NAME), or use --scheduler none"
        )


def _check_changeable(name: str, config: TrainingConfig, scheduler: str) -> None:
    """Raise ConfigurationError if the scheduler changes settings and an own task names none."""
    own = config.parameters and not config.changeable
    if own and SCHEDULERS[scheduler].changes_settings:
        raise ConfigurationError(
            f"experiments.{name}.changeable: must list the parameters that --scheduler {scheduler} "
            f"may change during training, got none; choose from {', '.join(config.parameters)}"
        )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
