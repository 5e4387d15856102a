"""The words of the main command line, and what each of them means."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from raytune_ocr.config.rules import RULES, check
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.options import read_option
from raytune_ocr.tune.registries import SCHEDULERS, SEARCHERS

EPILOG = """
examples:
  python -m raytune_ocr.tune                                   the three default presets
  python -m raytune_ocr.tune --config full --dry-run           what would be trained, and how
  python -m raytune_ocr.tune --config my.yaml --data images/   your presets on your data
  python -m raytune_ocr.tune --experiments baseline_optimized --set batch_size=48
  python -m raytune_ocr.tune --resume                          go on after Ctrl-C or a crash
  python -m raytune_ocr.tune --reproduce training_output       does the best trial come out again?

exit status: 0 at least one trial completed (also where a budget ended the run), 1 none did, 2 wrong
command line, config or data, 130 Ctrl-C, 143 terminated.
"""

SEARCH_TEXT = """Any leaf of an experiment may be a domain instead of a value: {choice: [a, b]},
{grid: [a, b]}, {uniform: [low, high]}, {loguniform: [low, high]}, {quniform: [low, high, step]},
{randint: [low, high]}, each with `when: {training.loss_type: focal}` if it is only there then. Such
an experiment gives num_samples trials NAME_0001, NAME_0002, ... All options below and under "how to
run", but --warm-start, --refine, --address and --quiet, may stand in the file's `tuning:` section
by the same names (time_budget: 30m); the command line wins."""

SEARCH = (
    (
        "search",
        "|".join(SEARCHERS.names()),
        "random (default): all trials are drawn at the start; optuna: each from what the trials "
        "before it reached, by Optuna's TPE (extra `optuna`). The same seed draws the same trials; "
        "with optuna, if they also end in the same order (--max-concurrent 1)",
    ),
    (
        "num_samples",
        "N",
        "trials of each search, for each combination of its grids (default 10)",
    ),
    (
        "max_trials",
        "N",
        "of the run in all; --resume with a larger N goes on (not by halving, once it has ended "
        "some: new ones would never be judged)",
    ),
    (
        "time_budget",
        "TIME",
        "end the run after 90s, 30m or 1h30m; --resume has a new budget",
    ),
    (
        "target",
        "METRIC=VALUE",
        "end the run when a trial is as good, e.g. character_accuracy=0.99",
    ),
    ("trial_timeout", "TIME", "end a trial that has trained so long; what it reached counts"),
)
WARM_START = (
    "results JSON files or output folders, the original system's too: completed trials inform "
    "--search optuna, and no trial that is the same in all that they tell is trained again, except "
    "those that a time budget or target cut short"
)
REFINE = (
    "search around the best completed trial of these results: each domain of its experiment "
    "shrinks to a quarter of its width on either side (choices to their neighbours, words to the "
    "best one); "
    "a preset gets domains: learning rate x1/3..3, weight decay x1/10..10, batch size x1/2..2. "
    "Includes --warm-start"
)

HOW = (
    (
        "scheduler",
        "|".join(SCHEDULERS.names()),
        "which trials end early. asha (default): at each rung those that are worse than most that "
        "were there before; halving: all wait at each rung until one in N goes on, which takes "
        "fewer epochs and suits a handful of trials; hyperband: asha, with later first rungs for "
        "some; median: those below the median of the others; pbt: every "
        "grace period the worst quarter, and copies of the best go on in their place with somewhat "
        "other learning rates and what else may change in mid-training (searched ones, else "
        "learning rate and weight decay), as NAME_g1, NAME_g2, ...; give it trials that fit all at "
        "a time or a few times over, and a grace period of a tenth of their epochs; none: "
        "nobody. --resume goes on with what each has noted",
    ),
    ("grace_period", "EPOCHS", "that every trial gets; of pbt, between comparisons (default 5)"),
    ("reduction_factor", "N", "one in N goes on at each rung (default 3)"),
    ("max_concurrent", "N", "trials at a time (default: as many as fit)"),
    (
        "cpus_per_trial",
        "N",
        "also a trial's threads (default 1; of halving and pbt, up to 4 once they fit)",
    ),
    ("gpus_per_trial", "N", "may be a fraction (default: 0.25 if there is a GPU)"),
)
TRUST = (
    (
        "confirm",
        "K",
        "train the K best again with fresh seeds, to their end; the winner is the best mean "
        "of those that failed the least",
    ),
    ("confirm_seeds", "S", "seeds of each (default 3)"),
)


def _option(name: str) -> Callable[[str], Any]:
    """How the command line reads an option of that name."""

    def parse(value: str) -> Any:
        try:
            return read_option(name, value, f"--{name}")
        except ConfigurationError as error:
            raise argparse.ArgumentTypeError(str(error).partition(": ")[2]) from None

    return parse


def _seed(value: str) -> int:
    try:
        return int(check("seed", int(value), "--seed"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be {RULES['seed'].text}, got {value!r}") from None


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m raytune_ocr.tune",
        description="Train every preset of a YAML file as a Ray Tune trial, stop the hopeless "
        "ones early, and write which one is best, with its numbers and its checkpoint.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_what(parser)
    _add_search(parser)
    _add_where(parser)
    _add_how(parser)
    _add_trust(parser)
    _add_after(parser)
    _add_look(parser)
    return parser


def _add_what(parser: argparse.ArgumentParser) -> None:
    """What is trained."""
    group = parser.add_argument_group("what to train")
    group.add_argument(
        "--config",
        default="presets",
        metavar="FILE",
        help="a YAML file, or a shipped space: presets (default), quick, full, smoke, "
        "searched_small, searched_full",
    )
    group.add_argument("--experiments", nargs="+", metavar="NAME", help="only these")
    group.add_argument(
        "--data",
        metavar="PATH",
        help="metadata.yaml, labels.csv or a folder; default: the config's own, made if absent",
    )
    group.add_argument(
        "--seed", type=_seed, metavar="N", help="of every trial, and of what is drawn (default 0)"
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a field of TrainingConfig in every experiment, e.g. num_epochs=5 or, as in the "
        "YAML, optimizer.type=adamw",
    )
    group.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module that registers models or datasets; a cluster's nodes are sent it",
    )
    group.add_argument(
        "--allow-outside",
        action="store_true",
        help="accept images outside of the data's folder and this one",
    )


def _add_search(parser: argparse.ArgumentParser) -> None:
    """How its searched leaves are drawn."""
    group = parser.add_argument_group("search", SEARCH_TEXT)
    for name, metavar, text in SEARCH:
        group.add_argument(_flag(name), type=_option(name), metavar=metavar, help=text)
    for name, text in (("warm-start", WARM_START), ("refine", REFINE)):
        group.add_argument(f"--{name}", nargs="+", default=(), metavar="RESULTS", help=text)


def _add_where(parser: argparse.ArgumentParser) -> None:
    """Where the run is kept, and whether one is gone on with."""
    group = parser.add_argument_group("where results go")
    group.add_argument(
        "--output-dir", default="training_output", metavar="DIR", help="(default training_output)"
    )
    group.add_argument(
        "--storage",
        metavar="PLACE",
        help="a folder or URI (s3://, gs://, abfs://, file://) that every node of a cluster "
        "reaches: the run is kept there and resumed from there, --output-dir is this machine's "
        "copy (default: none; every node must then see --output-dir)",
    )
    group.add_argument(
        "--results-file",
        metavar="FILE",
        help="(default hyperparameter_tuning_results_<timestamp>.json here)",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in --output-dir; finished trials are not run again",
    )
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="begin anew where --output-dir holds a run, which is kept under a name with its time",
    )
    group.add_argument(
        "--resume-if-any",
        action="store_true",
        help="go on if --output-dir holds a run, else start one: for jobs that are submitted again",
    )
    group.add_argument(
        "--force-unlock",
        action="store_true",
        help="take --output-dir even if another run holds it",
    )
    group.add_argument(
        "--track",
        nargs="+",
        default=[],
        metavar="TRACKER",
        help="tell mlflow (MLFLOW_TRACKING_URI, else mlflow.db in --output-dir) or wandb as well; "
        "TensorBoard is always written",
    )


def _add_how(parser: argparse.ArgumentParser) -> None:
    """How trials run and end."""
    group = parser.add_argument_group("how to run")
    for name, metavar, text in HOW:
        group.add_argument(_flag(name), type=_option(name), metavar=metavar, help=text)
    group.add_argument(
        "--address",
        metavar="ADDRESS",
        help="of a Ray cluster: auto on one of its nodes; HOST:PORT (6379) in its network; "
        "ray://HOST:PORT (10001) from elsewhere, by Ray Client (default: a Ray of this run's own)",
    )
    group.add_argument("--quiet", action="store_true", help="print nothing but errors")


def _add_trust(parser: argparse.ArgumentParser) -> None:
    """What is done so that the winner can be believed."""
    group = parser.add_argument_group("a winner one can trust")
    for name, metavar, text in TRUST:
        group.add_argument(_flag(name), type=_option(name), metavar=metavar, help=text)


def _add_after(parser: argparse.ArgumentParser) -> None:
    """What can be asked of a finished run."""
    group = parser.add_argument_group("after a run")
    group.add_argument(
        "--reproduce",
        metavar="RESULTS",
        help="train a trial of a results JSON or output folder again, without Ray, and say of each "
        "epoch whether its figures are identical; exit status 1 if not",
    )
    group.add_argument(
        "--trial", metavar="NAME", help="which one (default: the best; also NAME-seedN)"
    )


def _add_look(parser: argparse.ArgumentParser) -> None:
    """What can be shown without a run."""
    group = parser.add_argument_group("only look")
    group.add_argument("--list", action="store_true", help="list the experiments of --config")
    group.add_argument(
        "--list-models", action="store_true", help="list the models with size and cost"
    )
    group.add_argument(
        "--dry-run", action="store_true", help="show each trial's config, rungs and resources"
    )
