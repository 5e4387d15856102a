"""The main command line: `python -m raytune_ocr.tune`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from raytune_ocr.cli import again, tell
from raytune_ocr.config import RULES, check, parse_value
from raytune_ocr.errors import ConfigurationError, ExperimentFailedError, RaytuneOCRError
from raytune_ocr.tune.options import SCHEDULERS, SEARCHES, TUNING, read_option

if TYPE_CHECKING:
    from raytune_ocr.tune.tuner import HyperparameterTuner

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
run" may stand in the file's `tuning:` section by the same names (time_budget: 30m); the command
line wins."""

SEARCH = (
    (
        "search",
        "|".join(SEARCHES),
        "random (default): all trials are drawn at the start; optuna: each from what the trials "
        "before it reached, by Optuna's TPE (extra `optuna`). The same seed draws the same trials; "
        "with optuna, if they also end in the same order (--max-concurrent 1)",
    ),
    (
        "num_samples",
        "N",
        "trials of each search, for each combination of its grids (default 10)",
    ),
    ("max_trials", "N", "of the run in all; --resume with a larger N goes on"),
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
    "--search optuna, and no trial that is the same in all that they tell is trained again"
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
        "|".join(SCHEDULERS),
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
    ("cpus_per_trial", "N", "also a trial's threads (default 1)"),
    ("gpus_per_trial", "N", "may be a fraction (default: 0.25 if there is a GPU)"),
)
TRUST = (
    (
        "confirm",
        "K",
        "train the K best again with fresh seeds, to their end; the winner is the best mean",
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
    what = parser.add_argument_group("what to train")
    what.add_argument(
        "--config",
        default="presets",
        metavar="FILE",
        help="a YAML file, or a shipped space: presets (default), quick, full, smoke, "
        "searched_small, searched_full",
    )
    what.add_argument("--experiments", nargs="+", metavar="NAME", help="only these")
    what.add_argument(
        "--data",
        metavar="PATH",
        help="metadata.yaml, labels.csv or a folder; default: the config's own, made if absent",
    )
    what.add_argument(
        "--seed", type=_seed, metavar="N", help="of every trial, and of what is drawn (default 0)"
    )
    what.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a field of TrainingConfig in every experiment, e.g. num_epochs=5 or, as in the "
        "YAML, optimizer.type=adamw",
    )
    what.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module that registers models or datasets; a cluster's nodes are sent it",
    )
    what.add_argument(
        "--allow-outside",
        action="store_true",
        help="accept images outside of the data's folder and this one",
    )
    search = parser.add_argument_group("search", SEARCH_TEXT)
    for name, metavar, text in SEARCH:
        search.add_argument(_flag(name), type=_option(name), metavar=metavar, help=text)
    for name, text in (("warm-start", WARM_START), ("refine", REFINE)):
        search.add_argument(f"--{name}", nargs="+", default=(), metavar="RESULTS", help=text)
    where = parser.add_argument_group("where results go")
    where.add_argument(
        "--output-dir", default="training_output", metavar="DIR", help="(default training_output)"
    )
    where.add_argument(
        "--storage",
        metavar="PLACE",
        help="a folder or URI (s3://, gs://, abfs://, file://) that every node of a cluster "
        "reaches: the run is kept there and resumed from there, --output-dir is this machine's "
        "copy (default: none; every node must then see --output-dir)",
    )
    where.add_argument(
        "--results-file",
        metavar="FILE",
        help="(default hyperparameter_tuning_results_<timestamp>.json here)",
    )
    where.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in --output-dir; finished trials are not run again",
    )
    where.add_argument(
        "--resume-if-any",
        action="store_true",
        help="go on if --output-dir holds a run, else start one: for jobs that are submitted again",
    )
    where.add_argument(
        "--force-unlock",
        action="store_true",
        help="take --output-dir even if another run holds it",
    )
    where.add_argument(
        "--track",
        nargs="+",
        default=[],
        metavar="TRACKER",
        help="tell mlflow (MLFLOW_TRACKING_URI, else mlflow.db in --output-dir) or wandb as well; "
        "TensorBoard is always written",
    )
    how = parser.add_argument_group("how to run")
    for name, metavar, text in HOW:
        how.add_argument(_flag(name), type=_option(name), metavar=metavar, help=text)
    how.add_argument(
        "--address",
        metavar="ADDRESS",
        help="of a Ray cluster: auto on one of its nodes; HOST:PORT (6379) in its network; "
        "ray://HOST:PORT (10001) from elsewhere, by Ray Client (default: a Ray of this run's own)",
    )
    how.add_argument("--quiet", action="store_true", help="print nothing but errors")
    trust = parser.add_argument_group("a winner one can trust")
    for name, metavar, text in TRUST:
        trust.add_argument(_flag(name), type=_option(name), metavar=metavar, help=text)
    after = parser.add_argument_group("after a run")
    after.add_argument(
        "--reproduce",
        metavar="RESULTS",
        help="train a trial of a results JSON or output folder again, without Ray, and say of each "
        "epoch whether its figures are identical; exit status 1 if not",
    )
    after.add_argument(
        "--trial", metavar="NAME", help="which one (default: the best; also NAME-seedN)"
    )
    look = parser.add_argument_group("only look")
    look.add_argument("--list", action="store_true", help="list the experiments of --config")
    look.add_argument(
        "--list-models", action="store_true", help="list the models with size and cost"
    )
    look.add_argument(
        "--dry-run", action="store_true", help="show each trial's config, rungs and resources"
    )
    return parser


def parse_overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """Checked fields from `--set` and `--seed`."""
    from raytune_ocr.tune.sections import SECTIONS

    dotted = {f"{s}.{key}": field for s, keys in SECTIONS.items() for key, field in keys.items()}
    overrides: dict[str, Any] = {}
    for text in arguments.set:
        name, separator, value = text.partition("=")
        if not separator:
            raise ConfigurationError(f"--set: must be KEY=VALUE, got {text!r}")
        field = dotted.get(name, name)
        overrides[field] = check(field, parse_value(field, value), f"--set {name}")
    if arguments.imports:
        overrides["imports"] = check("imports", arguments.imports, "--import")
    if arguments.seed is not None:
        overrides["seed"] = arguments.seed
    return overrides


def create_tuner(arguments: argparse.Namespace) -> HyperparameterTuner:
    """The tuner that the command line asks for."""
    from raytune_ocr.tune.tuner import HyperparameterTuner

    names = (
        *TUNING,
        "warm_start",
        "refine",
        "address",
        "storage",
        "data",
        "allow_outside",
        "resume",
        "resume_if_any",
        "force_unlock",
        "track",
        "quiet",
    )
    return HyperparameterTuner(
        arguments.config,
        output_dir=arguments.output_dir,
        results_file=arguments.results_file,
        overrides=parse_overrides(arguments),
        **{name: getattr(arguments, name) for name in names},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = build_parser().parse_args(words)
    logging.basicConfig(
        format="%(message)s", level=logging.ERROR if arguments.quiet else logging.INFO
    )
    try:
        return _run(arguments, _resume_command(words))
    except RaytuneOCRError as error:
        tell(error)
        return 1 if isinstance(error, ExperimentFailedError) else 2
    except OSError as error:
        tell(error)
        return 2
    except KeyboardInterrupt as interrupt:
        return 128 + getattr(interrupt, "number", signal.SIGINT)


def _run(arguments: argparse.Namespace, go_on: str) -> int:
    if arguments.list_models:
        from raytune_ocr.models import describe_models, format_models

        print(format_models(describe_models()))
        return 0
    if arguments.reproduce is not None:
        from raytune_ocr.tune.reproduce import main as reproduce

        return reproduce(arguments)
    tuner = create_tuner(arguments)
    if arguments.list or arguments.dry_run:
        from raytune_ocr.tune.look import dry_run, list_experiments

        show = dry_run if arguments.dry_run else list_experiments
        print(show(tuner, arguments.experiments))
        return 0
    tuner.control.resume_command = go_on
    try:
        document = tuner.run_experiments(arguments.experiments)
    except KeyboardInterrupt:  # while no trial was trained
        begun = tuner.run.state.opened
        told = f"stopped; go on with: {go_on}" if begun else "stopped before the run began"
        print(told, file=sys.stderr)
        raise
    if not arguments.quiet:
        print(tuner.summary())
    if tuner.run.ended_by:
        print(f"{tuner.run.ended_by}; go on with: {go_on}", file=sys.stderr)
    elif tuner.run.unfinished:
        print(f"stopped; go on with: {go_on}", file=sys.stderr)
        return 128 + (tuner.control.interruptions.received or signal.SIGINT)
    return 0 if document["experiments_completed"] else 1


def _resume_command(words: Sequence[str]) -> str:
    kept = [word for word in words if word not in ("--resume", "--resume-if-any")]
    return again("tune", [*kept, "--resume"])


if __name__ == "__main__":
    sys.exit(main())
