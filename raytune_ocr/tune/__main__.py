"""The command line `python -m raytune_ocr.tune`."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from raytune_ocr.cli import again, open_streams, print_error
from raytune_ocr.config.environment import parse_assignments
from raytune_ocr.config.settings import check
from raytune_ocr.dashboard.beside import page_of
from raytune_ocr.errors import ExperimentFailedError, RaytuneOCRError
from raytune_ocr.tune.cli.parser import build_parser
from raytune_ocr.tune.options import TUNING

if TYPE_CHECKING:
    from raytune_ocr.tune.tuner import HyperparameterTuner

STATUS = "status"  # the first word of the command that shows how a run stands


def parse_overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the checked fields of `--set`, `--import`, `--seed` and `--trainable`."""
    overrides = parse_assignments(arguments.set)
    if arguments.imports:
        overrides["imports"] = check("imports", arguments.imports, "--import")
    if arguments.seed is not None:
        overrides["seed"] = arguments.seed
    if arguments.trainable is not None:
        overrides["trainable"] = check("trainable", arguments.trainable, "--trainable")
    return overrides


def create_tuner(arguments: argparse.Namespace) -> HyperparameterTuner:
    """Return the tuner for a command line."""
    from raytune_ocr.tune.tuner import HyperparameterTuner

    names = (
        *TUNING,
        "warm_start",
        "refine",
        "library",
        "address",
        "storage",
        "data",
        "allow_outside",
        "resume",
        "resume_if_any",
        "overwrite",
        "retry_failed",
        "force_unlock",
        "track",
        "optuna_storage",
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
    if words[:1] == [STATUS]:
        from raytune_ocr.tune.cli.status import main as status

        return status(words[1:])
    arguments = build_parser().parse_args(words)
    open_streams(to_the_end=True)
    logging.basicConfig(
        format="%(message)s", level=logging.ERROR if arguments.quiet else logging.INFO
    )
    try:
        return _run(arguments, _resume_command(words))
    except RaytuneOCRError as error:
        print_error(error)
        return 1 if isinstance(error, ExperimentFailedError) else 2
    except OSError as error:
        print_error(error)
        return 2
    except KeyboardInterrupt as interrupt:
        return 128 + getattr(interrupt, "number", signal.SIGINT)


def _run(arguments: argparse.Namespace, resume: str) -> int:
    if arguments.print_schema:
        from raytune_ocr.tune.space.schema import yaml_schema

        print(json.dumps(yaml_schema(), indent=2))
        return 0
    if arguments.list_models:
        from raytune_ocr.models import describe_models, format_models

        print(format_models(describe_models()))
        return 0
    if arguments.reproduce is not None:
        from raytune_ocr.tune.cli.reproduce_command import main as reproduce

        return reproduce(arguments)
    tuner = create_tuner(arguments)
    if arguments.list or arguments.dry_run:
        from raytune_ocr.tune.cli.dry_run import dry_run, list_experiments

        if arguments.dry_run:
            print(dry_run(tuner, arguments.experiments, every=arguments.all))
        else:
            print(list_experiments(tuner, arguments.experiments))
        return 0
    tuner.runner.resume_command = resume
    try:
        with page_of(tuner.output_dir) if arguments.dashboard else nullcontext():
            document = tuner.run_experiments(arguments.experiments)
    except KeyboardInterrupt:
        if not tuner.has_begun():
            print("stopped before the run began", file=sys.stderr)
        elif tuner.run.journal.is_open:
            print(f"stopped; resume with: {resume}", file=sys.stderr)
        else:  # the run ended in order
            _print_end(tuner, resume, arguments.quiet)
        raise
    if _print_end(tuner, resume, arguments.quiet):
        return 128 + signal.SIGINT  # Ray's tuner ended early without an error
    return 0 if document["experiments_completed"] else 1


def _print_end(tuner: HyperparameterTuner, resume: str, quiet: bool) -> bool:
    """Print the summary and how to resume; return whether the run was stopped before its end."""
    if not quiet:
        print(tuner.summary())
    if tuner.run.ended_by:
        print(f"{tuner.run.ended_by}; resume with: {resume}", file=sys.stderr)
        return False
    stopped = bool(tuner.run.unfinished or tuner.run.unconfirmed)
    if stopped:
        print(f"stopped; resume with: {resume}", file=sys.stderr)
    return stopped


def _resume_command(words: Sequence[str]) -> str:
    which = ("--resume", "--resume-if-any", "--overwrite", "--retry-failed")
    kept = [word for word in words if word not in which]
    return again("tune", [*kept, "--resume"])


if __name__ == "__main__":
    sys.exit(main())
