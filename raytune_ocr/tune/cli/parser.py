"""The options of `python -m raytune_ocr.tune` and their help."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

from raytune_ocr.cli import add_version
from raytune_ocr.config.settings import RULES, check
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.options import CONFIRMATION, OPTIONS, read_option
from raytune_ocr.tune.space.shipped_spaces import shipped_spaces

EPILOG = """
examples:
  python -m raytune_ocr.tune                                   the three default presets
  python -m raytune_ocr.tune --config full --dry-run           what would be trained, and how
  python -m raytune_ocr.tune --config my.yaml --data images/   your presets on your data
  python -m raytune_ocr.tune --experiments baseline_optimized --set batch_size=48
  python -m raytune_ocr.tune --resume                          resume after Ctrl-C or a crash
  python -m raytune_ocr.tune --reproduce training_output       train the best again and compare
  python -m raytune_ocr.tune status training_output            how a run stands, from any terminal

exit status: 0 at least one trial completed (also when a budget ended the run), 1 none did, 2 wrong
command line, config or data, 130 Ctrl-C, 143 terminated.
"""

SEARCH_TEXT = """Any leaf of an experiment may be a domain instead of a value: {choice: [a, b]},
{grid: [a, b]}, {uniform: [low, high]}, {loguniform: [low, high]}, {quniform: [low, high, step]},
{randint: [low, high]}, each with `when: {training.loss_type: focal}` if only some trials have it.
An experiment with domains gives num_samples trials NAME_0001, NAME_0002, ... The options below and
under "how to run", except --warm-start, --refine, --library, --address, --dashboard and --quiet,
may stand in the file's `tuning:` section by the same names (time_budget: 30m), and so may
--confirm, --confirm-seeds and --keep-models; the command line wins."""


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m raytune_ocr.tune",
        description="Train every experiment of a YAML file as Ray Tune trials, stop poor trials "
        "early, and write the best trial's metrics, settings and checkpoint.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_version(parser)
    _add_training(parser)
    _add_search(parser)
    _add_results(parser)
    _add_execution(parser)
    _add_options(parser.add_argument_group(CONFIRMATION))
    _add_reproduce(parser)
    _add_previews(parser)
    return parser


def _add_options(group: Any) -> None:
    """Add the options of `TuneOptions` that belong to a group of the help."""
    for name, about in OPTIONS.items():
        if about.group == group.title and about.rule:
            group.add_argument(
                "--" + name.replace("_", "-"),
                type=_reader(name),
                metavar=about.metavar,
                help=about.doc.replace("%", "%%"),
            )


def _reader(name: str) -> Callable[[str], Any]:
    """Return the function by which argparse reads an option of `TuneOptions`."""

    def read(value: str) -> Any:
        try:
            return read_option(name, value, f"--{name}")
        except ConfigurationError as error:
            raise argparse.ArgumentTypeError(str(error).partition(": ")[2]) from None

    return read


def _seed(value: str) -> int:
    try:
        return int(check("seed", int(value), "--seed"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be {RULES['seed'].text}, got {value!r}") from None


def _add_training(parser: argparse.ArgumentParser) -> None:
    """Add what is trained."""
    group = parser.add_argument_group("what to train")
    group.add_argument(
        "--config",
        default="presets",
        metavar="FILE",
        help=f"a YAML file, or a shipped space: {', '.join(shipped_spaces())} (default presets)",
    )
    group.add_argument(
        "--experiments",
        nargs="+",
        metavar="NAME",
        help="train only these experiments (default: all of the file)",
    )
    group.add_argument(
        "--trainable",
        metavar="MODULE:FUNCTION",
        help="training function, with the parameters (parameters, context), of every experiment",
    )
    group.add_argument(
        "--data",
        type=os.path.expanduser,
        metavar="PATH",
        help=OPTIONS["data"].doc,
    )
    group.add_argument(
        "--seed",
        type=_seed,
        metavar="N",
        help="seed of the search and of every trial (default: the config's, else 0)",
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a field of TrainingConfig in every experiment, e.g. num_epochs=5 or, as in the "
        "YAML, optimizer.type=adamw; may be repeated",
    )
    group.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module that registers models or datasets, on every node; may be repeated",
    )
    group.add_argument(
        "--allow-outside",
        action="store_true",
        help=OPTIONS["allow_outside"].doc,
    )


def _add_search(parser: argparse.ArgumentParser) -> None:
    """Add how searched leaves are drawn."""
    group = parser.add_argument_group("search", SEARCH_TEXT)
    _add_options(group)
    for name in ("warm_start", "refine"):
        group.add_argument(
            "--" + name.replace("_", "-"),
            nargs="+",
            default=(),
            metavar="RESULTS",
            help=OPTIONS[name].doc,
        )
    group.add_argument(
        "--library", type=os.path.expanduser, metavar="DIR", help=OPTIONS["library"].doc
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    """Add where the run is kept, and whether it is resumed."""
    group = parser.add_argument_group("where results go")
    group.add_argument(
        "--output-dir",
        type=os.path.expanduser,
        default="training_output",
        metavar="DIR",
        help="folder of the run: a folder for each trial, tables, state (default training_output)",
    )
    group.add_argument(
        "--storage",
        metavar="PATH",
        help=OPTIONS["storage"].doc,
    )
    group.add_argument(
        "--results-file",
        type=os.path.expanduser,
        metavar="FILE",
        help="the results JSON (default hyperparameter_tuning_results_<timestamp>.json here)",
    )
    _add_resume(group)
    _add_options(group)
    group.add_argument(
        "--track",
        nargs="+",
        default=[],
        metavar="TRACKER",
        help=OPTIONS["track"].doc,
    )
    group.add_argument(
        "--optuna-storage",
        metavar="FILE|URL",
        help=OPTIONS["optuna_storage"].doc,
    )


def _add_resume(group: argparse._ArgumentGroup) -> None:
    """Add what happens to a run that the output folder holds."""
    group.add_argument(
        "--resume",
        action="store_true",
        help=OPTIONS["resume"].doc,
    )
    group.add_argument(
        "--retry-failed",
        action="store_true",
        help=OPTIONS["retry_failed"].doc,
    )
    group.add_argument(
        "--overwrite",
        action="store_true",
        help=OPTIONS["overwrite"].doc,
    )
    group.add_argument(
        "--resume-if-any",
        action="store_true",
        help=OPTIONS["resume_if_any"].doc,
    )
    group.add_argument(
        "--force-unlock",
        action="store_true",
        help=OPTIONS["force_unlock"].doc,
    )


def _add_execution(parser: argparse.ArgumentParser) -> None:
    """Add how trials run and end."""
    group = parser.add_argument_group("how to run")
    _add_options(group)
    group.add_argument(
        "--address",
        metavar="ADDRESS",
        help=OPTIONS["address"].doc,
    )
    group.add_argument(
        "--dashboard",
        action="store_true",
        help="show the run on a local page while it trains, and print its URL",
    )
    group.add_argument("--quiet", action="store_true", help=OPTIONS["quiet"].doc)


def _add_reproduce(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked of a finished run."""
    group = parser.add_argument_group("after a run")
    group.add_argument(
        "--reproduce",
        metavar="RESULTS",
        help="train a trial of a results JSON or output folder again, without Ray, and compare "
        "the metrics of each epoch; exit status 1 if they are not identical",
    )
    group.add_argument(
        "--trial",
        metavar="NAME",
        help="the trial that --reproduce trains (default: the best; NAME-seedN: a confirmation)",
    )


def _add_previews(parser: argparse.ArgumentParser) -> None:
    """Add what can be shown without a run."""
    group = parser.add_argument_group("preview")
    group.add_argument("--list", action="store_true", help="list the experiments of --config")
    group.add_argument(
        "--list-models", action="store_true", help="list the models with size and cost"
    )
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="show what would run: trials, ranges, three example trials with rungs and resources; "
        "hours and cost by earlier trials (--output-dir, --warm-start, --library), and disk space",
    )
    group.add_argument(
        "--all", action="store_true", help="with --dry-run: every trial with its whole config"
    )
    group.add_argument(
        "--print-schema",
        action="store_true",
        help="print the JSON Schema of the YAML, by which editors complete and check it",
    )
