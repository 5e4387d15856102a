"""Train one model on one dataset in an experiment folder: `python -m raytune_ocr.train`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from raytune_ocr.cli import add_version, again, open_streams, print_error
from raytune_ocr.config.environment import environment_overrides, parse_assignments, parse_value
from raytune_ocr.config.metrics import CLASSIFIER, READER, task_name
from raytune_ocr.config.settings import check
from raytune_ocr.config.training_config import TrainingConfig, with_derived
from raytune_ocr.errors import RaytuneOCRError
from raytune_ocr.plugins import check_trusted
from raytune_ocr.training.experiments.resume import (
    FIXED_BY_STATE,
    FOLDER_KEYS,
    create_config,
    forked_settings,
    resumed_settings,
)

if TYPE_CHECKING:
    from raytune_ocr.tasks.experiment import TaskExperiment
    from raytune_ocr.training import ExperimentTrainer

DEFAULT_BASE = "runs"
EPILOG = """
examples:
  python -m raytune_ocr.train --model ctc_small --epochs 20
  python -m raytune_ocr.train --model image_classifier --dataset image_folder --data photos/
  python -m raytune_ocr.train --resume exp1 --epochs 40      continue exp1 until epoch 40
  python -m raytune_ocr.train --resume exp1 --set learning_rate=1e-4
                                                             the same, with this rate from now on
  python -m raytune_ocr.train --fork exp1 --set learning_rate=1e-4
                                                             a new experiment with exp1's weights
  python -m raytune_ocr.train --trainable my_train:finetune --epochs 20
  python -m raytune_ocr.train --import my_models --model my_net --dataset my_data

A resumed or forked experiment keeps every setting that is not given, except --import: name the
modules of an experiment again, because a file alone must not run code.
Exit status: 0 trained, 1 the training failed, 2 wrong command line, config or data, 130 Ctrl-C.
"""


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m raytune_ocr.train",
        description="Train a model in a numbered experiment folder (runs/exp1, exp2, ...), which "
        "has checkpoints, a log and a plot of the learning curves. Accuracies are in percent.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_version(parser)
    what = parser.add_argument_group("what to train")
    what.add_argument("--model", metavar="NAME", help="a registered model (default medium)")
    what.add_argument(
        "--dataset", metavar="NAME", help="a registered dataset (default khmer_digits)"
    )
    what.add_argument(
        "--data", metavar="PATH", help="the dataset's file or folder (default: the dataset's own)"
    )
    what.add_argument(
        "--trainable",
        metavar="MODULE:FUNCTION",
        help="a training function with the signature (parameters, context), instead of a model and "
        "a dataset; set its parameters with --set parameters='{lr: 1e-3}', its metric with "
        "--set metric.name=val_f1",
    )
    what.add_argument(
        "--import",
        dest="imports",
        action="append",
        metavar="MODULE",
        help="import a module that registers models or datasets; may be repeated",
    )
    _add_how(parser.add_argument_group("how"))
    _add_where(parser.add_argument_group("where"))
    return parser


def _add_how(how: argparse._ArgumentGroup) -> None:
    """Add the options of the training itself."""
    how.add_argument(
        "--epochs",
        metavar="N",
        help="total number of epochs, including those before a resume (default 40; on a resume: "
        "unchanged)",
    )
    how.add_argument(
        "--patience",
        metavar="N",
        help="stop after N epochs without improvement of early_stopping_monitor, by default the "
        "validation accuracy (default 0: no early stopping)",
    )
    how.add_argument(
        "--reapply-transforms",
        action="store_true",
        help="draw new random transforms of the training data every epoch, not only once",
    )
    how.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set any field of TrainingConfig, e.g. batch_size=64 or, as in the YAML of tune, "
        "optimizer.type=adamw; may be repeated",
    )


def _add_where(where: argparse._ArgumentGroup) -> None:
    """Add the options of the experiment's folder."""
    where.add_argument(
        "--base-dir",
        default=DEFAULT_BASE,
        metavar="DIR",
        help=f"folder of the experiments (default {DEFAULT_BASE})",
    )
    begin = where.add_mutually_exclusive_group()
    begin.add_argument("--resume", metavar="EXP", help="continue an experiment, e.g. exp1")
    begin.add_argument(
        "--fork", metavar="EXP", help="start a new experiment with another one's weights"
    )


def parse_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return checked fields of the command line; environment variables override them.

    On a resume, both hold from the next epoch on.
    """
    flags = {
        "model_name": ("--model", arguments.model),
        "dataset_name": ("--dataset", arguments.dataset),
        "metadata_path": ("--data", arguments.data),
        "trainable": ("--trainable", arguments.trainable),
        "num_epochs": ("--epochs", arguments.epochs),
        "early_stopping_patience": ("--patience", arguments.patience),
    }
    settings = {
        field: check(field, parse_value(field, text), flag)
        for field, (flag, text) in flags.items()
        if text is not None
    }
    if arguments.imports:
        settings["imports"] = check("imports", arguments.imports, "--import")
    return {**settings, **parse_assignments(arguments.set), **environment_overrides()}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status."""
    arguments = build_parser().parse_args(argv)
    open_streams(to_the_end=True)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    with ExitStack() as until_the_end:
        return _train(arguments, until_the_end)


def _train(arguments: argparse.Namespace, until_the_end: ExitStack) -> int:
    try:
        settings = parse_settings(arguments)
        trainer, config = _prepare(arguments, settings, until_the_end)
    except (RaytuneOCRError, OSError) as error:
        return _fail(error, 2)
    except KeyboardInterrupt:
        print("stopped before training began", file=sys.stderr)
        return 130
    try:
        results = trainer.train(config.num_epochs)
    except KeyboardInterrupt:
        words = _resume_words(arguments, trainer.experiment_manager.name)
        print(f"stopped; resume with: {again('train', words)}", file=sys.stderr)
        return 130
    except (RaytuneOCRError, OSError) as error:
        return _fail(error, 1)
    best = results.get("best") or f"best accuracy {results['best_accuracy']:.2f} %"
    print(
        f"{best} in epoch {results['best_epoch']}; {results['epochs_trained']} epochs in "
        f"{results['training_time']:.1f} s; {results['experiment_dir']}"
    )
    return 0


def _prepare(
    arguments: argparse.Namespace, settings: dict[str, Any], until_the_end: ExitStack
) -> tuple[ExperimentTrainer | TaskExperiment, TrainingConfig]:
    """Build the trainer and its config; raise for wrong names, settings and data."""
    from raytune_ocr.tasks.experiment import TaskExperiment
    from raytune_ocr.training import ExperimentManager
    from raytune_ocr.training.experiments.build import create_experiment_trainer

    before = arguments.resume or arguments.fork
    known = ExperimentManager.config_of(arguments.base_dir, before) if before else {}
    source = f"{arguments.base_dir}/{before}/config.yaml"
    trusted = with_derived(settings).get("imports", [])
    check_trusted(known.get("imports") or [], trusted, source)
    kept = {name: known[name] for name in FOLDER_KEYS if known.get(name)}
    if arguments.reapply_transforms:
        kept["reapply_transforms"] = True
    done = ExperimentManager.epochs_of(arguments.base_dir, before) if before else 0
    if arguments.resume:
        # Settings that the config file lacks are those of the saved state, as given now.
        given = {name: settings[name] for name in FIXED_BY_STATE if name in settings}
        settings = resumed_settings(settings, create_config({}, {**given, **known}), done)
    if arguments.fork:
        kept.pop("parent", None)
        known = forked_settings(known, done)
    config = create_config(settings, known)

    def folder() -> ExperimentManager:
        return ExperimentManager(arguments.base_dir, arguments.resume, arguments.fork)

    trainer: ExperimentTrainer | TaskExperiment
    if task_name(vars(config)) in (READER, CLASSIFIER):
        reapply = "reapply_transforms" in kept
        trainer = create_experiment_trainer(config, folder, reapply_transforms=reapply)
    else:
        trainer = TaskExperiment(config, folder)
    until_the_end.enter_context(trainer.experiment_manager.locked())
    facts = {name: getattr(trainer.config, name) for name in ("class_names", "image_shape")}
    trainer.open()  # before its config is written: if the state does not fit, no file changes
    trainer.experiment_manager.save_config({**kept, **config.to_dict(), **facts})
    own = config.trainable or config.task
    what = own or f"{config.model_name} on {config.dataset_name}"
    print(f"{trainer.experiment_manager.experiment_dir}: {what}, {config.num_epochs} epochs")
    return trainer, config


def _resume_words(arguments: argparse.Namespace, name: str) -> list[str]:
    """Return the arguments of the command that resumes the experiment `name`."""
    base_dir = arguments.base_dir
    elsewhere = [] if base_dir == DEFAULT_BASE else ["--base-dir", base_dir]
    imports = [word for module in arguments.imports or () for word in ("--import", module)]
    own = ["--trainable", arguments.trainable] if arguments.trainable else []
    return ["--resume", name, *elsewhere, *imports, *own]


def _fail(error: Exception, status: int) -> int:
    print_error(error)
    return status


if __name__ == "__main__":
    sys.exit(main())
