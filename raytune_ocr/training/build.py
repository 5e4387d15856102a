"""From a config to a training run: the one place that joins datasets, models and trainers."""

from __future__ import annotations

import dataclasses
import inspect
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from raytune_ocr.config import DEFAULT_MODEL_CONFIG_PATH, KHMER_DIGITS, TrainingConfig
from raytune_ocr.data import BaseDataset, KhmerDigits, create_data_loaders, create_dataset
from raytune_ocr.errors import CheckpointError
from raytune_ocr.models import ModelRegistry, Reader, create_model
from raytune_ocr.plugins import import_modules
from raytune_ocr.training.base import Augment, BaseTrainer, loop_settings
from raytune_ocr.training.callbacks import (
    Callback,
    EarlyStoppingCallback,
    FunctionCallback,
    InterruptAfterBatch,
    ProgressBar,
    monitored,
)
from raytune_ocr.training.changes import Changes
from raytune_ocr.training.checkpoint import CheckpointManager, read_state
from raytune_ocr.training.experiment import ExperimentManager, ExperimentTrainer
from raytune_ocr.training.losses import create_loss_function
from raytune_ocr.training.metrics import ClassificationMetrics, OCRMetrics
from raytune_ocr.training.ocr import OCRTrainer, ReaderLoop, kind_of
from raytune_ocr.training.optim import get_device, setup_optimizer_and_scheduler
from raytune_ocr.training.trainer import Trainer, seed_everything

STATE_NAME = "state.pt"


class ClassifierTrainer(BaseTrainer):
    """Trains a model that gives logits [B, C] on batches with labels int64 [B].

    Args:
        augment: changes training batches when `config.augmentation` says so.

    The others are `BaseTrainer`'s. `accuracy` is the figure, as a fraction.
    """

    def __init__(self, *args: Any, augment: Augment | None = None, **kwargs: Any) -> None:
        self.augment = augment
        super().__init__(*args, **kwargs)

    def _create_loss_function(self) -> nn.Module:
        return classification_loss(self.config)

    def _create_metrics_calculator(self) -> ClassificationMetrics:
        return ClassificationMetrics()

    def _create_augment(self) -> Augment | None:
        return self.augment


def create_model_from_config(
    config: TrainingConfig, offered: Mapping[str, Any] | None = None
) -> nn.Module:
    """The model that `config` names, with its YAML of overrides if that file exists.

    A reader of digits always has a `kind`.

    Args:
        offered: keywords that the data suggests (`num_classes`); those that the model's signature
            names are passed. `config.model_options` always are.

    Raises:
        ModelCreationError, ConfigurationError: for an unknown name or overrides that do not fit.
    """
    import_modules(config.imports)
    default_is_absent = (
        config.model_config_path == DEFAULT_MODEL_CONFIG_PATH
        and not Path(config.model_config_path).exists()
    )
    named = inspect.signature(ModelRegistry.factory(config.model_name)).parameters
    overrides = {name: value for name, value in (offered or {}).items() if name in named}
    if config.gradient_checkpointing:
        overrides["gradient_checkpointing"] = True
    model = create_model(
        config.model_name,
        vocab_size=config.vocab_size,
        max_sequence_length=config.max_sequence_length,
        config_path=None if default_is_absent else config.model_config_path,
        **{**overrides, **config.model_options},
    )
    if config.dataset_name == KHMER_DIGITS and not hasattr(model, "kind"):
        model.kind = kind_of(model, config)  # whoever reads with it knows no config
    return model


def whole(config: TrainingConfig, model: nn.Module) -> TrainingConfig:
    """`config` with one of our readers' architecture in it, so that no other file is needed."""
    if not isinstance(model, Reader):
        return config
    fields = ("kind", "vocab_size", "max_sequence_length")  # they have places of their own
    options = {name: value for name, value in model.config.items() if name not in fields}
    return dataclasses.replace(config, model_options=options, model_config_path="")


def load_reader(path: str | os.PathLike[str]) -> tuple[nn.Module, TrainingConfig]:
    """The reader in a checkpoint, in evaluation mode on the CPU, and the config it came from.

    Raises:
        CheckpointError: when the file is damaged or no reader's.
    """
    state = read_state(path)
    if "config" not in state or "model_state_dict" not in state:
        raise CheckpointError(f"{path}: holds no reader (no config beside its weights)")
    config = TrainingConfig.from_dict(state["config"], environment={})
    if config.dataset_name != KHMER_DIGITS:
        raise CheckpointError(
            f"{path}: holds no reader of digits, but a model of {config.dataset_name!r}"
        )
    model = create_model_from_config(config)
    try:
        model.load_state_dict(state["model_state_dict"])
    except RuntimeError as error:
        raise CheckpointError(f"{path}: its weights do not fit its config: {error}") from None
    return model.eval(), config


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
    model = create_model_from_config(config, dataset.model_arguments())
    train_loader, val_loader = dataset.loaders(config)
    augment = dataset.augment()
    return ClassifierTrainer(model, train_loader, val_loader, config, device, augment=augment)


class ReaderExperimentTrainer(ExperimentTrainer):
    """The same for readers; the accuracy is that of single digits."""

    def _loop_class(self) -> type[Trainer]:
        return ReaderLoop

    def _create_metrics_calculator(self) -> OCRMetrics:
        return OCRMetrics(kind=getattr(self.loop.model, "kind", "attention"))


def create_experiment_trainer(
    config: TrainingConfig,
    open_folder: Callable[[], ExperimentManager],
    *,
    reapply_transforms: bool = False,
) -> ExperimentTrainer:
    """The experiment trainer of everything that `config` names, with a progress bar.

    `early_stopping_min_delta` is in the unit of the monitor: here accuracies are in percent.

    Args:
        open_folder: called once all else is there, so that a wrong name uses up no number.
        reapply_transforms: draw new transforms of the training data every epoch.

    Raises:
        ConfigurationError, DataLoaderError, ModelCreationError.
    """
    import_modules(config.imports)
    seed_everything(config.seed)
    device = get_device(config.device)
    ModelRegistry.factory(config.model_name)  # a wrong name is told before any data is read
    dataset: BaseDataset = create_dataset(config)
    train_loader, val_loader = dataset.get_dataloaders(batch_size=config.batch_size)
    model = create_model_from_config(config, dataset.model_arguments()).to(device)
    optimizer, scheduler = setup_optimizer_and_scheduler(model, config)
    digits = config.dataset_name == KHMER_DIGITS
    manager = open_folder()
    trainer = (ReaderExperimentTrainer if digits else ExperimentTrainer)(
        model,
        train_loader,
        val_loader,
        create_loss_function(config) if digits else classification_loss(config),
        optimizer,
        device,
        manager,
        CheckpointManager(
            manager.checkpoints_dir,
            config.keep_n_checkpoints,
            save_frequency=config.save_every_n_epochs,
        ),
        scheduler,
        dataset if reapply_transforms else None,
        config.early_stopping_patience,
        callbacks=[
            *([Changes(config)] if config.changes else []),
            ProgressBar(len(train_loader), config.num_epochs),
            InterruptAfterBatch(),
        ],
        settings=loop_settings(config),
        early_stopping=EarlyStoppingCallback(
            config.early_stopping_monitor,
            config.early_stopping_patience,
            config.early_stopping_min_delta,
            config.early_stopping_mode,
        ),
        config=whole(config, model),
    )
    trainer.loop.plateau_metric = config.early_stopping_monitor
    return trainer


def classification_loss(config: TrainingConfig) -> nn.Module:
    """Cross entropy in float32, smoothed as `config` says."""
    return _WholeCrossEntropy(label_smoothing=config.label_smoothing)


class _WholeCrossEntropy(nn.CrossEntropyLoss):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super().forward(logits.float(), labels)


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
        report: called `(metrics, folder)` after each epoch; `folder` holds the state of that
            moment and exists only during the call. `metrics["epoch"]` counts from 1.
        resume_from: a state file or a folder that holds one; training goes on after it.

    Raises:
        ConfigurationError, DataLoaderError, ModelCreationError, CheckpointError, DivergenceError.
    """
    seed_everything(config.seed)
    trainer = create_trainer(config, splits)
    trainer.callbacks = list(callbacks)
    if report is not None:
        trainer.reporters.append(FunctionCallback(_reporter(trainer, report)))
    if resume_from is not None:
        path = Path(resume_from)
        trainer.load_state(path / STATE_NAME if path.is_dir() else path)
        if report is not None and trainer.training_history:
            # Whoever listens may have missed the last words before the interruption.
            *history, last = trainer.training_history
            report({**_report_row(trainer, last), "history": history}, None)
    return trainer.train()


def _reporter(
    trainer: BaseTrainer, report: Callable[[dict[str, Any], str | None], None]
) -> Callable[..., None]:
    def report_epoch(loop: Trainer, epoch: int, metrics: dict[str, float]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            # Nobody reads the folder before it is whole: no need to write aside, nor to the disk.
            torch.save(trainer.state_dict(), Path(folder) / STATE_NAME)
            report(_report_row(trainer, {"epoch": epoch + 1, **metrics}), folder)

    return report_epoch


def _report_row(trainer: BaseTrainer, metrics: Mapping[str, float]) -> dict[str, Any]:
    """An epoch's metrics, the running best, and why training ends, if it does.

    `best_score` is the best monitored value so far, higher is better whatever the metric.
    """
    monitor = trainer.config.early_stopping_monitor
    sign = 1 if trainer.config.early_stopping_mode == "max" else -1
    best = trainer.config.best_of(trainer.training_history) or metrics
    last = metrics["epoch"] >= trainer.config.num_epochs
    accuracies = [name for name in best if name.startswith("val_") and name.endswith("accuracy")]
    return {
        **metrics,
        **{f"best_{name}": best[name] for name in accuracies},
        "best_epoch": best["epoch"],
        "best_score": sign * monitored(best, monitor),
        "stop_reason": trainer.stop_reason or ("max_epochs" if last else ""),
    }
