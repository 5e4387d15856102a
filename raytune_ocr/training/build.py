"""Build a training run from a config: dataset, model and trainer."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from raytune_ocr.config.metrics import KHMER_DIGITS, score_of
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import BaseDataset, KhmerDigits, create_data_loaders, create_dataset
from raytune_ocr.plugins import import_modules
from raytune_ocr.training.callbacks.base import (
    Callback,
    FunctionCallback,
    TrainingLoop,
    monitored,
)
from raytune_ocr.training.checkpoints.rng import seed_everything
from raytune_ocr.training.checkpoints.run_folder import STATE_NAME
from raytune_ocr.training.checkpoints.state_files import write_state
from raytune_ocr.training.device import get_device
from raytune_ocr.training.model_config import create_model_from_config, with_model_facts
from raytune_ocr.training.trainers.base import BaseTrainer
from raytune_ocr.training.trainers.classifier import ClassifierTrainer
from raytune_ocr.training.trainers.ocr import OCRTrainer


def create_trainer(config: TrainingConfig, data: Any = None) -> BaseTrainer:
    """The trainer of everything that `config` names; the global generators must be seeded.

    Args:
        data: a dataset, or packed splits of digits by name (default: what `config` names).
    """
    import_modules(config.imports)
    device = get_device(config.device)
    if config.dataset_name == KHMER_DIGITS:
        model = create_model_from_config(config)
        if isinstance(data, Mapping):
            train_loader, val_loader = create_data_loaders(config, splits=data)
        else:
            digits: KhmerDigits = create_dataset(config) if data is None else data
            train_loader, val_loader = digits.loaders(config)
        return OCRTrainer(model, train_loader, val_loader, config, device)
    dataset: BaseDataset = create_dataset(config) if data is None else data
    config = with_model_facts(config, dataset.model_facts())
    model = create_model_from_config(config, dataset.model_arguments())
    train_loader, val_loader = dataset.loaders(config)
    augment = dataset.augment()
    return ClassifierTrainer(model, train_loader, val_loader, config, device, augment=augment)


def train_from_config(
    config: TrainingConfig,
    splits: Any = None,
    *,
    report: Callable[[dict[str, Any], str | None], None] | None = None,
    resume_from: str | os.PathLike[str] | None = None,
    callbacks: Sequence[Callback | Callable[..., None]] = (),
) -> dict[str, Any]:
    """Build everything that `config` names, train it, and return its trainer's results.

    Args:
        splits: a dataset, or packed splits of digits by name (default: what `config` names).
        report: called `(metrics, folder)` after each epoch; `folder` holds the state and exists
            only during the call. `metrics["epoch"]` counts from 1.
        resume_from: a state file, or the folder of one; training continues after it.

    Raises:
        ConfigurationError, DataLoaderError, ModelCreationError, CheckpointError, DivergenceError.
    """
    seed_everything(config.seed)
    return run_trainer(create_trainer(config, splits), report, resume_from, callbacks)


def run_trainer(
    trainer: BaseTrainer,
    report: Callable[[dict[str, Any], str | None], None] | None = None,
    resume_from: str | os.PathLike[str] | None = None,
    callbacks: Sequence[Callback | Callable[..., None]] = (),
) -> dict[str, Any]:
    """Train with a trainer that is built; arguments as in `train_from_config`."""
    trainer.callbacks = list(callbacks)
    if report is not None:
        trainer.reporters.append(FunctionCallback(_reporter(trainer, report)))
    if resume_from is not None:
        path = Path(resume_from)
        trainer.load_state(path / STATE_NAME if path.is_dir() else path)
        if report is not None and trainer.training_history:
            # The last report before the interruption may have been lost.
            *history, last = trainer.training_history
            report({**_report_row(trainer, last), "history": history}, None)
    return trainer.train()


def _reporter(
    trainer: BaseTrainer, report: Callable[[dict[str, Any], str | None], None]
) -> Callable[..., None]:
    def report_epoch(loop: TrainingLoop, epoch: int, metrics: dict[str, float]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            # Nothing reads the folder before it is whole: no need to write aside, nor to the disk.
            write_state(Path(folder) / STATE_NAME, trainer.state_dict(), aside=False)
            report(_report_row(trainer, {"epoch": epoch + 1, **metrics}), folder)

    return report_epoch


def _report_row(trainer: BaseTrainer, metrics: Mapping[str, float]) -> dict[str, Any]:
    """An epoch's metrics, the best ones so far, and the reason to stop, if there is one.

    `best_score` is the best monitored value so far such that higher is better for any metric.
    """
    monitor = trainer.config.early_stopping_monitor
    best = trainer.config.best_of(trainer.training_history) or metrics
    last = metrics["epoch"] >= trainer.config.num_epochs
    accuracies = [name for name in best if name.startswith("val_") and name.endswith("accuracy")]
    return {
        **metrics,
        "reported": [name for name in metrics if name.startswith(("train_", "val_"))],
        **{f"best_{name}": best[name] for name in accuracies},
        "best_epoch": best["epoch"],
        "best_score": score_of(monitored(best, monitor), trainer.config.early_stopping_mode),
        "stop_reason": trainer.stop_reason or ("max_epochs" if last else ""),
    }
