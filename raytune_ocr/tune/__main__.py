"""The main command line: `python -m raytune_ocr.tune`."""

from __future__ import annotations

import argparse
import logging
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_ocr.config import check, parse_value
from raytune_ocr.errors import ConfigurationError, ExperimentFailedError, RaytuneOCRError

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

exit status: 0 at least one trial completed, 1 none did, 2 wrong command line, config or data,
130 Ctrl-C, 143 terminated.
"""


def _number(kind: type, low: float, text: str) -> Any:
    def parse(value: str) -> Any:
        try:
            number = kind(value)
        except ValueError:
            number = None
        if number is None or not low <= number < float("inf"):
            raise argparse.ArgumentTypeError(f"must be {text}, got {value!r}")
        return number

    return parse


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
        help="a YAML file, or a shipped space: presets (default), full, smoke",
    )
    what.add_argument("--experiments", nargs="+", metavar="NAME", help="only these")
    what.add_argument(
        "--data",
        metavar="PATH",
        help="metadata.yaml, labels.csv or a folder; default: the config's own, made if absent",
    )
    what.add_argument("--seed", type=_number(int, 0, "an integer >= 0"), help="of every trial")
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
        help="import a module that registers models or datasets",
    )
    what.add_argument(
        "--allow-outside",
        action="store_true",
        help="accept images outside of the data's folder and this one",
    )
    where = parser.add_argument_group("where results go")
    where.add_argument(
        "--output-dir", default="training_output", metavar="DIR", help="(default training_output)"
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
    how = parser.add_argument_group("how to run")
    how.add_argument("--scheduler", choices=("asha", "none"), default="asha", help="(default asha)")
    how.add_argument(
        "--grace-period",
        type=_number(int, 1, "an integer >= 1"),
        default=5,
        metavar="EPOCHS",
        help="that every trial gets (default 5)",
    )
    how.add_argument(
        "--reduction-factor",
        type=_number(int, 2, "an integer >= 2"),
        default=3,
        metavar="N",
        help="one in N goes on at each rung (default 3)",
    )
    how.add_argument(
        "--max-concurrent",
        type=_number(int, 0, "an integer >= 0"),
        default=0,
        metavar="N",
        help="trials at a time (default: as many as fit)",
    )
    how.add_argument(
        "--cpus-per-trial",
        type=_number(float, 0.01, "a number > 0"),
        default=1.0,
        metavar="N",
        help="also a trial's threads (default 1)",
    )
    how.add_argument(
        "--gpus-per-trial",
        type=_number(float, 0.0, "a number >= 0"),
        metavar="N",
        help="may be a fraction (default: 0.25 if there is a GPU)",
    )
    how.add_argument("--address", metavar="ADDRESS", help="of a Ray cluster: auto, ray://HOST:PORT")
    how.add_argument("--quiet", action="store_true", help="print nothing but errors")
    trust = parser.add_argument_group("a winner one can trust")
    trust.add_argument(
        "--confirm",
        type=_number(int, 0, "an integer >= 0"),
        metavar="K",
        help="train the K best again with fresh seeds, to their end; the winner is the best mean",
    )
    trust.add_argument(
        "--confirm-seeds",
        type=_number(int, 1, "an integer >= 1"),
        metavar="S",
        help="seeds of each (default 3)",
    )
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
        "scheduler",
        "grace_period",
        "reduction_factor",
        "max_concurrent",
        "cpus_per_trial",
        "gpus_per_trial",
        "address",
        "data",
        "allow_outside",
        "resume",
        "resume_if_any",
        "force_unlock",
        "confirm",
        "confirm_seeds",
        "quiet",
    )
    return HyperparameterTuner(
        arguments.config,
        output_dir=arguments.output_dir,
        results_file=arguments.results_file,
        overrides=parse_overrides(arguments),
        **{name: getattr(arguments, name) for name in names},
    )


def list_experiments(tuner: HyperparameterTuner, names: Sequence[str] | None) -> str:
    """One line an experiment."""
    configs = tuner.space(names).configs
    return "\n".join(
        f"{name:<24} {c.model_name:<11} {c.loss_type:<13} {c.optimizer_type:<6} "
        f"{c.scheduler_type:<8} batch {c.batch_size:<4} lr {c.learning_rate:<8g} "
        f"{c.num_epochs} epochs"
        for name, c in configs.items()
    )


def dry_run(tuner: HyperparameterTuner, names: Sequence[str] | None) -> str:
    """What would run: configs, epochs, rungs, resources."""
    import yaml

    from raytune_ocr.tune.schedulers import rung_epochs

    options = tuner.options
    blocks = []
    for name, config in tuner.space(names).configs.items():
        rungs: list[int] = []
        if options.scheduler == "asha":
            rungs = rung_epochs(options.grace_period, options.reduction_factor, config.num_epochs)
        plan = {
            "epochs": config.num_epochs,
            "rungs": rungs,
            "cpus": options.cpus_per_trial,
            "gpus": "0.25 if there is one"
            if options.gpus_per_trial is None
            else options.gpus_per_trial,
            "config": config.to_dict(),
        }
        blocks.append(yaml.safe_dump({name: plan}, sort_keys=False, allow_unicode=True))
    return "\n".join(blocks)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(
        format="%(message)s", level=logging.ERROR if arguments.quiet else logging.INFO
    )
    try:
        return _run(arguments)
    except RaytuneOCRError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 1 if isinstance(error, ExperimentFailedError) else 2
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _run(arguments: argparse.Namespace) -> int:
    if arguments.list_models:
        from raytune_ocr.models import describe_models, format_models

        print(format_models(describe_models()))
        return 0
    if arguments.reproduce is not None:
        from raytune_ocr.tune.reproduce import main as reproduce

        return reproduce(arguments)
    tuner = create_tuner(arguments)
    if arguments.list or arguments.dry_run:
        show = dry_run if arguments.dry_run else list_experiments
        print(show(tuner, arguments.experiments))
        return 0
    document = tuner.run_experiments(arguments.experiments)
    if not arguments.quiet:
        print(tuner.summary())
    if tuner.unfinished:
        print(f"stopped; go on with: {_resume_command()}", file=sys.stderr)
        return 128 + (tuner.signal_received or signal.SIGINT)
    return 0 if document["experiments_completed"] else 1


def _resume_command() -> str:
    words = [word for word in sys.argv[1:] if word not in ("--resume", "--resume-if-any")]
    return shlex.join([Path(sys.executable).name, "-m", "raytune_ocr.tune", *words, "--resume"])


if __name__ == "__main__":
    sys.exit(main())
