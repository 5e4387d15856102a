"""Options of a run: default, rule and documentation in one place.

The command line, the YAML's `tuning:` section, its JSON Schema and the reference page are derived
from the fields of `TuneOptions`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from raytune_ocr.config.rules import shown
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
        f"how trials are drawn. {SEARCHERS.summary()}. The same seed draws the same trials; with a "
        "search that learns from results only if trials also end in the same order "
        "(--max-concurrent 1) (default random)",
        name_in(SEARCHERS),
        metavar="|".join(SEARCHERS.names()),
        group="search",
    )
    scheduler: str = option(
        "asha",
        f"which trials stop early. {SCHEDULERS.summary()}; auto: picks one of these and its grace "
        "period by the number of trials and epochs, and logs which and why (default asha)",
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
        "for freeze-thaw: total epochs of all trials; unfinished trials stop once the budget is "
        "spent (default: as many epochs as halving needs with its first rung at epoch 1)",
        integer(1),
        metavar="EPOCHS",
        group="how to run",
    )
    num_samples: int | None = option(
        None,
        "samples of each experiment with a search space, for each combination of its grid values "
        "(default: the file's, else 10)",
        integer(1),
        metavar="N",
        group="search",
    )
    max_trials: int | None = option(
        None,
        "most trials of the whole run, including resumed parts; --resume with a larger N adds "
        "trials, except with halving once it has stopped a trial (default: as many as the file "
        "asks for)",
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
    max_cost: float | None = option(
        None,
        "end the run once its finished epochs have cost this much at the file's `prices`, those of "
        "resumed parts included (default: no limit)",
        at_least(0),
        metavar="AMOUNT",
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
        "retries in a row without a new epoch, after which a trial has failed (default 1)",
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
        "results JSON files or output folders of earlier runs, older result formats too: their "
        "completed trials inform --search optuna and their curves --scheduler freeze-thaw, random "
        "search tries their best settings first, and a trial with the same settings on the same "
        "data is not trained again, unless a time budget or target stopped it early",
        group="sources",
    )
    library: str | None = option(
        None,
        "a folder that collects the trials and curves of finished runs; a run learns from the 8 "
        "newest as by --warm-start, and trains trials of the same settings again (default: none)",
        group="sources",
    )
    refine: Sequence[str] = option(
        (),
        "search around the best completed trial of these results: each domain shrinks to a quarter "
        "of its width on either side of the best value (numeric choices to its neighbours, other "
        "choices to it alone); a preset is searched over learning rate / 3 to x 3, weight decay "
        "/ 10 to x 10, batch size / 2 to x 2. Implies --warm-start with the same results",
        group="sources",
    )
    cpus_per_trial: float | None = option(
        None,
        "CPUs and threads per trial (default 1; with halving and pbt up to 4 where CPUs would be "
        "idle)",
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
    address: str | None = option(
        None,
        "address of a Ray cluster: auto on one of its nodes, HOST:PORT (6379) in its network, "
        "ray://HOST:PORT (10001) from elsewhere by Ray Client (default: start Ray on this machine)",
    )
    storage: str | os.PathLike[str] | Storage | None = option(
        None,
        "shared storage of a cluster: a folder or URI (s3://, gs://, abfs://, file://) that every "
        "node can access; the run is saved there and resumed from there, --output-dir is a local "
        "copy (default: none; every node must then share --output-dir)",
    )
    data: str | None = option(
        None,
        "images and labels: metadata.yaml, labels.csv or a folder (default: the data that the "
        "config names; the synthetic set is generated if it is missing)",
    )
    allow_outside: bool = option(
        False, "accept images outside the data folder and the working folder (default: refuse)"
    )
    resume: bool = option(
        False, "resume the run in --output-dir; finished trials are not trained again"
    )
    resume_if_any: bool = option(
        False,
        "resume if --output-dir holds a run, else start one: for jobs that are resubmitted",
    )
    overwrite: bool = option(
        False,
        "start a new run even if --output-dir holds one; the old run is kept, renamed by its time",
    )
    retry_failed: bool = option(False, "with --resume: also retry the trials that failed")
    force_unlock: bool = option(False, "use --output-dir even if another run holds its lock")
    confirm: int | None = option(
        None,
        "train the K best trials again to their end with new seeds; the trial with the best mean "
        "wins (default 0; on resume: unchanged)",
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
        "how many of the best trials, or all, keep their models at the end of the run: the "
        "checkpoint of the best epoch, and the numbered ones by save_every_n_epochs and "
        f"keep_n_checkpoints (default {BEST_MODELS_KEPT})",
        integer_or_all(1),
        metavar="N|all",
        group="where results go",
    )
    track: Sequence[str] = option(
        (),
        "also log to mlflow (MLFLOW_TRACKING_URI, else mlflow.db in --output-dir) or wandb; "
        "TensorBoard files are always written (default: none)",
    )
    optuna_storage: str | None = option(
        None,
        "also write an Optuna study, which optuna-dashboard and Optuna's plots read while the run "
        "trains: a file for its journal, or a database URL such as sqlite:///optuna.db (extra "
        "`optuna`; default: none)",
    )
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
