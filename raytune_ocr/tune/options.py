"""Options of a run: the rule of each, said once for the command line and the YAML's `tuning:`."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError, unknown_name
from raytune_ocr.plugins import Registry
from raytune_ocr.results.targets import Target
from raytune_ocr.tasks.registry import target_metrics
from raytune_ocr.tune.registries import SCHEDULERS, SEARCHERS

if TYPE_CHECKING:
    from raytune_ocr.tune.storage.storage import Storage

UNITS = {"h": 3600, "m": 60, "s": 1}


class Option(NamedTuple):
    """What a value must be, in words, and how it is read: None where it breaks the rule."""

    text: str
    read: Callable[[Any], Any]


def _integer(low: int) -> Option:
    def read(value: Any) -> int | None:
        number = _number(value)
        return int(number) if number is not None and number >= low and number % 1 == 0 else None

    return Option(f"an integer >= {low}", read)


def _at_least(low: float, text: str) -> Option:
    def read(value: Any) -> float | None:
        number = _number(value)
        return number if number is not None and number >= low else None

    return Option(text, read)


def _one_of(names: tuple[str, ...]) -> Option:
    return Option(f"one of {', '.join(names)}", lambda value: value if value in names else None)


def _name_in(registry: Registry[Any]) -> Option:
    names = registry.names()
    return Option(f"one of {', '.join(names)}", lambda value: value if value in names else None)


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def parse_duration(value: Any) -> float | None:
    """Seconds of a number, or of text with units; None where it is neither.

    >>> parse_duration("1h30m"), parse_duration(90)
    (5400.0, 90.0)
    """
    number = _number(value)
    if number is None:
        text = value.strip() if isinstance(value, str) else ""
        parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", text)
        if not text or "".join(n + unit for n, unit in parts) != text:
            return None
        number = sum(float(n) * UNITS[unit] for n, unit in parts)
    return number if number > 0 else None


def parse_target(value: Any) -> Target | None:
    """Of text such as `character_accuracy=0.99`, or a mapping of one metric to its value."""
    if isinstance(value, Target):
        return value
    if isinstance(value, str):
        name, _, text = value.partition("=")
        value = {name.strip(): text}
    if not isinstance(value, Mapping) or len(value) != 1:
        return None
    ((name, goal),) = value.items()
    number = _number(goal)
    return Target(name, number) if name in target_metrics() and number is not None else None


_DURATION = Option("seconds, or a time such as 90s, 30m or 1h30m", parse_duration)

TUNING: dict[str, Option] = {
    "search": _name_in(SEARCHERS),
    "scheduler": _name_in(SCHEDULERS),
    "grace_period": _integer(1),
    "reduction_factor": _integer(2),
    "num_samples": _integer(1),
    "max_trials": _integer(1),
    "max_concurrent": _integer(0),
    "time_budget": _DURATION,
    "trial_timeout": _DURATION,
    "target": Option(
        f"METRIC=VALUE with a metric of {', '.join(target_metrics())}",
        parse_target,
    ),
    "confirm": _integer(0),
    "confirm_seeds": _integer(1),
    "cpus_per_trial": _at_least(0.01, "a number >= 0.01"),
    "gpus_per_trial": _at_least(0, "a number >= 0"),
}
"""Keys of the `tuning:` section, which are options of the command line by the same names."""


def read_option(name: str, value: Any, place: str) -> Any:
    """`value` as the option `name` wants it.

    Raises:
        ConfigurationError: `<place>: must be <rule>, got <value>`.
    """
    read = TUNING[name].read(value)
    if read is None:
        raise ConfigurationError(f"{place}: must be {TUNING[name].text}, got {value!r}")
    return read


def read_tuning(content: Any, place: str) -> tuple[dict[str, Any], list[str]]:
    """The options of a `tuning:` section, and what is wrong with it."""
    if content is None:
        return {}, []
    if not isinstance(content, Mapping):
        return {}, [f"{place}: must be a mapping of options, got {content!r}"]
    options, problems = {}, []
    for name, value in content.items():
        if name not in TUNING:
            problems.append(f"{place}.{name}: {unknown_name('option', name, TUNING)}")
            continue
        try:
            options[name] = read_option(name, value, f"{place}.{name}")
        except ConfigurationError as error:
            problems.append(str(error))
    return options, problems


@dataclass
class TuneOptions:
    """How a run is run; what is trained stands in the YAML.

    Attributes:
        search: "random", or "optuna": each searched trial from what those before it reached.
        scheduler: which trials are stopped early, one of `SCHEDULERS`.
        grace_period: epochs before a trial may be stopped.
        reduction_factor: one in this many goes on at each rung.
        num_samples: of every searched experiment; None: as the file says.
        max_trials: of the whole run, earlier parts included; None: as many as the file says.
        max_concurrent: trials at a time, 0 for as many as fit.
        time_budget: seconds until the run ends; None: without end.
        trial_timeout: seconds of training until a trial ends; None: without end.
        target: ends the run when a trial is as good.
        warm_start: results of earlier runs, whose points are known.
        refine: results around whose best trial to search.
        cpus_per_trial: also the threads of a trial (at least one); None: one, or a larger share
            where trials wait for each other and fewer of them are left than fit.
        gpus_per_trial: may be a fraction; None: a quarter of a GPU if there is one.
        address: of a Ray cluster; None starts Ray on this machine.
        storage: a folder, a URI or a `Storage` that every node reaches: the run is kept there,
            the output folder is this machine's copy. None: every node sees the output folder.
        data: overrides every experiment's `metadata_path`.
        resume: go on with the run in the output folder.
        overwrite: set an earlier run of the output folder aside, and begin anew.
        resume_if_any: go on if the output folder holds a run, else start one.
        force_unlock: take the output folder even if another run holds its lock.
        confirm: how many of the best to train again with fresh seeds; None: none, or as many as
            the run that is resumed.
        confirm_seeds: of each; None: 3, or as many as the run that is resumed.
        track: trackers to tell as well: "mlflow", "wandb".
    """

    search: str = "random"
    scheduler: str = "asha"
    grace_period: int = 5
    reduction_factor: int = 3
    num_samples: int | None = None
    max_trials: int | None = None
    max_concurrent: int = 0
    time_budget: float | None = None
    trial_timeout: float | None = None
    target: Target | None = None
    warm_start: Sequence[str] = ()
    refine: Sequence[str] = ()
    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None
    address: str | None = None
    storage: str | os.PathLike[str] | Storage | None = None
    data: str | None = None
    allow_outside: bool = False
    resume: bool = False
    resume_if_any: bool = False
    overwrite: bool = False
    force_unlock: bool = False
    confirm: int | None = None
    confirm_seeds: int | None = None
    track: Sequence[str] = ()
    quiet: bool = False


KEPT_OPTIONS = (
    *("search", "num_samples", "warm_start", "refine"),
    *("scheduler", "grace_period", "reduction_factor", "confirm", "confirm_seeds"),
)
"""Options that say what a run is: a resumed one goes on with them unless it is told others."""


def chosen_options(
    given: Mapping[str, Any],
    tuning: Mapping[str, Any] | None = None,
    earlier: Mapping[str, Any] | None = None,
) -> TuneOptions:
    """Options of a run: a caller's win, then those of the run it resumes, then the file's.

    Args:
        given: by a caller; None or an empty list where nothing was given.
        tuning: the file's section, checked.
        earlier: `KEPT_OPTIONS` of the run that is resumed.

    Raises:
        ConfigurationError: with all problems, one a line.
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
        raise ConfigurationError("--overwrite: must be given without --resume, which keeps the run")
    _check_scheduler(options, earlier or {})
    for name in ("warm_start", "refine"):
        options[name] = [str(Path(str(source)).absolute()) for source in options.get(name, ())]
    return TuneOptions(**options)


def _check_scheduler(options: Mapping[str, Any], earlier: Mapping[str, Any]) -> None:
    """Raises ConfigurationError where a scheduler does not go with the search or a resumed run."""
    scheduler = options.get("scheduler", TuneOptions.scheduler)
    search = options.get("search", TuneOptions.search)
    if SCHEDULERS[scheduler].needs_all_trials and SEARCHERS[search].adaptive:
        raise ConfigurationError(
            f"--scheduler: {scheduler} must go with --search random, since all trials begin before "
            f"any of them ends, got --search {search}"
        )
    before = str(earlier.get("scheduler", scheduler))
    if scheduler != before and (SCHEDULERS[scheduler].pauses or SCHEDULERS[before].pauses):
        raise ConfigurationError(
            f"--scheduler: the run was begun with {before} and must go on with it, got "
            f"{scheduler}; choose another --output-dir"
        )


def check_comparable(configs: Iterable[tuple[str, TrainingConfig]], scheduler: str) -> None:
    """Raises ConfigurationError where trials would be judged by figures of opposite directions.

    Args:
        configs: of the trials, each with its experiment's name.
    """
    if not SCHEDULERS[scheduler].compares_trials:
        return
    first: dict[str, str] = {}
    for name, config in configs:
        mode, monitor = config.early_stopping_mode, config.early_stopping_monitor
        first.setdefault(mode, f"{name}, {monitor} ({mode})")
    if len(first) > 1:
        raise ConfigurationError(
            f"--scheduler: {scheduler} must compare trials that all follow a figure in one "
            f"direction, early_stopping.mode, got {' and '.join(first.values())}; let all follow "
            "the same (--set early_stopping.monitor=NAME), or judge none of them: --scheduler none"
        )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
