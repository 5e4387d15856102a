"""Options of a run: default, rule and documentation in one place.

The command line, the YAML's `tuning:` section, its JSON Schema and the reference page are derived
from the fields of `TuneOptions`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from raytune_ocr.config.rules import shown
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError, unknown_name
from raytune_ocr.results.record import BEST_MODELS_KEPT
from raytune_ocr.results.targets import Target
from raytune_ocr.tune.option_rules import (
    ALL,
    DURATION,
    TARGET,
    OptionRule,
    at_least,
    integer,
    integer_or_all,
    name_in,
)
from raytune_ocr.tune.registries import AUTO, SCHEDULERS, SEARCHERS

if TYPE_CHECKING:
    from raytune_ocr.tune.storage.storage import Storage

T = TypeVar("T")

CONFIRMATION = "confirmation of the best trials"
"""Title of a group of options in the help."""

SHARED_GPU = 0.25
"""What each trial has of a GPU by default: readers are small."""


@dataclass(frozen=True)
class AboutOption:
    """What is known of an option besides its name, type and default.

    Attributes:
        doc: what it does, its unit, its default.
        rule: what a value must be; None where a caller alone checks it.
        metavar: of its value on the command line.
        group: of the command line's help; "" where that adds the option by itself.
    """

    doc: str
    rule: OptionRule | None = None
    metavar: str = ""
    group: str = ""


def option(default: T, doc: str, rule: OptionRule | None = None, **about: str) -> T:
    """Declare an option; one with a rule may stand in the YAML's `tuning:` section.

    Args:
        **about: further attributes of `AboutOption`.
    """
    return dataclasses.field(default=default, metadata={"about": AboutOption(doc, rule, **about)})


@dataclass
class TuneOptions:
    """How a run is run; what is trained stands in the YAML.

    Each option carries its documentation and, where the command line and the YAML's `tuning:` have
    it, its rule. None: the option was not given.
    """

    search: str = option(
        "random",
        "random: all trials are drawn at the start; optuna: Optuna's TPE draws each trial from the "
        "results before it (extra `optuna`). The same seed draws the same trials; with optuna only "
        "if trials also end in the same order (--max-concurrent 1) (default random)",
        name_in(SEARCHERS),
        metavar="|".join(SEARCHERS.names()),
        group="search",
    )
    scheduler: str = option(
        "asha",
        "which trials stop early. asha: a trial that is worse than the top 1/N at a rung stops; "
        "halving: all trials pause at each rung and the best 1/N go on: fewer epochs, for a "
        "handful of trials; hyperband: asha with later first rungs for some trials; median: a "
        "trial below the median of the others stops; pbt (population based training): every "
        "--grace-period epochs the worst quarter stop and copies of the best go on in their place, "
        "named NAME_g1, NAME_g2, ..., with other learning rates and whatever else may change in "
        "mid-training; use trials that fit all at a time, and a grace period of a tenth of their "
        "epochs; freeze-thaw: a model of all learning curves chooses which trial starts, or "
        "continues from its pause, until --epoch-budget is spent: the fewest epochs where there "
        "are many samples; none: no trial stops; auto: picks one of them, and its grace period, by "
        "the number of trials and epochs, and says which and why (default asha)",
        name_in(SCHEDULERS, AUTO),
        metavar="|".join([*SCHEDULERS.names(), AUTO]),
        group="how to run",
    )
    grace_period: int = option(
        5,
        "epochs that every trial trains before it may stop; of pbt, epochs between comparisons "
        "(default 5)",
        integer(1),
        metavar="EPOCHS",
        group="how to run",
    )
    reduction_factor: int = option(
        3,
        "one trial in N continues at each rung (default 3)",
        integer(2),
        metavar="N",
        group="how to run",
    )
    epoch_budget: int | None = option(
        None,
        "of freeze-thaw: epochs that all trials train together; what is not trained to its end by "
        "then stops (default: what halving from 1 epoch would train)",
        integer(1),
        metavar="EPOCHS",
        group="how to run",
    )
    num_samples: int | None = option(
        None,
        "trials of each search, for each combination of its grids (default: the file's, else 10)",
        integer(1),
        metavar="N",
        group="search",
    )
    max_trials: int | None = option(
        None,
        "trials of the whole run, resumed parts included; --resume with a larger N adds trials "
        "(not with halving once it has stopped some) (default: as many as the file asks for)",
        integer(1),
        metavar="N",
        group="search",
    )
    max_concurrent: int = option(
        0,
        "trials that run at a time (default 0: as many as fit)",
        integer(0),
        metavar="N",
        group="how to run",
    )
    time_budget: float | None = option(
        None,
        "end the run after this time: seconds, or 90s, 30m, 1h30m; --resume starts a new budget "
        "(default: no limit)",
        DURATION,
        metavar="TIME",
        group="search",
    )
    trial_timeout: float | None = option(
        None,
        "end a trial after this training time: seconds, or 90s, 30m, 1h30m; its best epoch counts "
        "(default: no limit)",
        DURATION,
        metavar="TIME",
        group="search",
    )
    max_failures: int = option(
        1,
        "how often a trial is tried again without a new epoch before it has failed (default 1)",
        integer(0),
        metavar="N",
        group="how to run",
    )
    target: Target | None = option(
        None,
        "end the run when a trial reaches this value, e.g. character_accuracy=0.99 (a fraction; "
        "default: none)",
        TARGET,
        metavar="METRIC=VALUE",
        group="search",
    )
    warm_start: Sequence[str] = option(
        (),
        "results JSON files or output folders of earlier runs, the original system's too: their "
        "completed trials inform --search optuna, and a trial with the same settings is not "
        "trained again, unless a time budget or target cut it short",
        group="sources",
    )
    refine: Sequence[str] = option(
        (),
        "search around the best completed trial of these results: each domain of its experiment "
        "shrinks to a quarter of its width on either side (choices of numbers to their neighbours, "
        "others to the best one); a preset gets domains: learning rate x1/3..3, weight decay "
        "x1/10..10, batch size x1/2..2. Includes --warm-start",
        group="sources",
    )
    cpus_per_trial: float | None = option(
        None,
        "CPUs of a trial, also its threads (default 1; with halving and pbt up to 4 once fewer "
        "trials are left than fit)",
        at_least(0.01),
        metavar="N",
        group="how to run",
    )
    gpus_per_trial: float | None = option(
        None,
        f"GPUs of a trial, may be a fraction (default {SHARED_GPU} if there is a GPU, else 0)",
        at_least(0),
        metavar="N",
        group="how to run",
    )
    address: str | None = option(None, "of a Ray cluster; None starts Ray on this machine")
    storage: str | os.PathLike[str] | Storage | None = option(
        None,
        "a folder, a URI or a `Storage` that every node reaches: the run is kept there, the output "
        "folder is this machine's copy; None: every node sees the output folder",
    )
    data: str | None = option(None, "overrides every experiment's `metadata_path`")
    allow_outside: bool = option(False, "accept images outside the data's and the working folder")
    resume: bool = option(False, "go on with the run in the output folder")
    resume_if_any: bool = option(False, "go on if the output folder holds a run, else start one")
    overwrite: bool = option(
        False, "set an earlier run of the output folder aside under a name with its time"
    )
    retry_failed: bool = option(
        False, "trials that have failed are tried again as the run is resumed"
    )
    force_unlock: bool = option(False, "take the output folder even if another run holds its lock")
    confirm: int | None = option(
        None,
        "train the K best trials again with fresh seeds, to their end; the winner is the one with "
        "the best mean (default 0; of a resumed run as before)",
        integer(0),
        metavar="K",
        group=CONFIRMATION,
    )
    confirm_seeds: int | None = option(
        None,
        "seeds of each confirmed trial (default 3)",
        integer(1),
        metavar="S",
        group=CONFIRMATION,
    )
    keep_models: int | str = option(
        BEST_MODELS_KEPT,
        "trials that keep their models as the run ends, the best N or all; a model is its best "
        "epoch and the numbered checkpoints that save_every_n_epochs and keep_n_checkpoints leave "
        f"(default {BEST_MODELS_KEPT})",
        integer_or_all(1),
        metavar="N|all",
        group="where results go",
    )
    track: Sequence[str] = option((), "trackers besides TensorBoard: mlflow, wandb")
    quiet: bool = option(False, "print nothing but errors")

    @property
    def models_kept(self) -> int | None:
        """How many of the best trials keep their models; None: all."""
        return None if self.keep_models == ALL else int(self.keep_models)


OPTIONS: dict[str, AboutOption] = {
    field.name: field.metadata["about"] for field in dataclasses.fields(TuneOptions)
}

TUNING: dict[str, OptionRule] = {
    name: about.rule for name, about in OPTIONS.items() if about.rule is not None
}
"""Keys of the `tuning:` section, which are options of the command line by the same names."""


def read_option(name: str, value: Any, place: str) -> Any:
    """Return `value` as the type of the option `name`.

    Raises:
        ConfigurationError: `<place>: must be <rule>, got <value>`.
    """
    read = TUNING[name].read(value)
    if read is None:
        raise ConfigurationError(f"{place}: must be {TUNING[name].text}, got {shown(value)}")
    return read


def read_tuning(content: Any, place: str) -> tuple[dict[str, Any], list[str]]:
    """Return the options of a `tuning:` section, and its problems."""
    if content is None:
        return {}, []
    if not isinstance(content, Mapping):
        return {}, [f"{place}: must be a mapping of options, got {shown(content)}"]
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


KEPT_OPTIONS = (
    *("search", "num_samples", "warm_start", "refine"),
    *("scheduler", "grace_period", "reduction_factor", "epoch_budget"),
    *("confirm", "confirm_seeds", "keep_models"),
)
"""Options that define a run: a resumed run keeps them unless the caller gives others."""


def chosen_options(
    given: Mapping[str, Any],
    tuning: Mapping[str, Any] | None = None,
    earlier: Mapping[str, Any] | None = None,
) -> TuneOptions:
    """Return the options of a run: a caller's win, then the resumed run's, then the file's.

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
    if options.get("retry_failed") and not (options.get("resume") or options.get("resume_if_any")):
        raise ConfigurationError("--retry-failed: must be given with --resume")
    if options.get("scheduler") == AUTO and (earlier or {}).get("scheduler"):
        options |= {name: (earlier or {})[name] for name in ("scheduler", "grace_period")}
    _check_scheduler(options, earlier or {})
    for name in ("warm_start", "refine"):
        options[name] = [str(Path(str(source)).absolute()) for source in options.get(name, ())]
    return TuneOptions(**options)


def not_followed(
    given: Mapping[str, Any], tuning: Mapping[str, Any], earlier: Mapping[str, Any]
) -> list[str]:
    """Return a line for each option of a file that a resumed run goes on without.

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
        way = "another --output-dir takes it" if pauses else f"{_flag(name)} {value} changes it"
        lines.append(
            f"--resume: tuning.{name}: {value} in the file is not followed: the run goes on with "
            f"{before} as it began; {way}"
        )
    return lines


def _check_scheduler(options: Mapping[str, Any], earlier: Mapping[str, Any]) -> None:
    """Raise ConfigurationError where a scheduler does not go with the search or a resumed run."""
    scheduler = options.get("scheduler", TuneOptions.scheduler)
    search = options.get("search", TuneOptions.search)
    if scheduler == AUTO:
        return
    if SCHEDULERS[scheduler].needs_all_trials and SEARCHERS[search].adaptive:
        raise ConfigurationError(
            f"--scheduler: {scheduler} must go with --search random, since all its trials start "
            f"before any of them ends, got --search {search}"
        )
    before = str(earlier.get("scheduler", scheduler))
    if scheduler != before and (SCHEDULERS[scheduler].pauses or SCHEDULERS[before].pauses):
        raise ConfigurationError(
            f"--scheduler: must stay {before}, with which the run was started, got {scheduler}; "
            "choose another --output-dir for another scheduler"
        )


def check_comparable(configs: Iterable[tuple[str, TrainingConfig]], scheduler: str) -> None:
    """Raise ConfigurationError where trials would be compared by metrics of opposite directions.

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
            "early_stopping.monitor=NAME), or compare none: --scheduler none"
        )


def _check_changeable(name: str, config: TrainingConfig, scheduler: str) -> None:
    """Raise where settings are to change of a task that does not say which of its own may."""
    own = config.parameters and not config.changeable
    if own and SCHEDULERS[scheduler].changes_settings:
        raise ConfigurationError(
            f"experiments.{name}.changeable: must name the parameters that may change while a "
            f"trial trains, for --scheduler {scheduler}, got none of {', '.join(config.parameters)}"
        )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
