"""Build the experiment trainer of a `TrainingConfig`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from raytune_ocr.config.metrics import KHMER_DIGITS
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import BaseDataset, create_dataset
from raytune_ocr.data.datasets.base import ImageDataset
from raytune_ocr.models import ModelRegistry
from raytune_ocr.plugins import import_modules
from raytune_ocr.training.callbacks.base import Callback
from raytune_ocr.training.callbacks.early_stopping import EarlyStoppingCallback
from raytune_ocr.training.callbacks.progress_bar import InterruptAfterBatch, ProgressBar
from raytune_ocr.training.callbacks.scheduled_changes import ScheduledChanges
from raytune_ocr.training.checkpoints.checkpoint import CheckpointManager
from raytune_ocr.training.checkpoints.rng import seed_everything
from raytune_ocr.training.device import get_device
from raytune_ocr.training.experiments.folder import ExperimentManager
from raytune_ocr.training.experiments.trainer import ExperimentTrainer
from raytune_ocr.training.loop_settings import LoopSettings
from raytune_ocr.training.loops import Loop, ReaderLoop
from raytune_ocr.training.losses import create_loss_function
from raytune_ocr.training.metrics import ClassificationMetrics, OCRMetrics
from raytune_ocr.training.model_config import create_model_from_config, whole, with_model_facts
from raytune_ocr.training.optim.build import setup_optimizer_and_scheduler
from raytune_ocr.training.trainers.classifier import classification_loss
from raytune_ocr.training.trainers.ocr import kind_of

logger = logging.getLogger(__name__)


def create_experiment_trainer(
    config: TrainingConfig,
    open_folder: Callable[[], ExperimentManager],
    *,
    reapply_transforms: bool = False,
) -> ExperimentTrainer:
    """Build the data, model, optimizer and experiment trainer of `config`, with a progress bar.

    `early_stopping_min_delta` is in the unit of the monitor: here accuracies are in percent. The
    accuracy of a reader is its character accuracy.

    Args:
        open_folder: called last, so that a config with a wrong name creates no numbered folder.
        reapply_transforms: draw new transforms of the training data every epoch.

    Raises:
        ConfigurationError, DataLoaderError, ModelCreationError.
    """
    import_modules(config.imports)
    seed_everything(config.seed)
    device = get_device(config.device)
    ModelRegistry.factory(config.model_name)  # a wrong name is an error before data are read
    dataset: BaseDataset = create_dataset(config)
    if reapply_transforms:
        _warn_if_fixed(dataset, config)
    train_loader, val_loader = dataset.get_dataloaders(batch_size=config.batch_size)
    if config.dataset_name != KHMER_DIGITS:
        config = with_model_facts(config, dataset.model_facts())
    model = create_model_from_config(config, dataset.model_arguments()).to(device)
    optimizer, scheduler = setup_optimizer_and_scheduler(model, config)
    digits, kind = config.dataset_name == KHMER_DIGITS, kind_of(model, config)
    manager = open_folder()
    trainer = ExperimentTrainer(
        model,
        train_loader,
        val_loader,
        create_loss_function(config) if digits else classification_loss(config),
        optimizer,
        device,
        manager,
        _checkpoint_manager(manager, config),
        scheduler,
        dataset if reapply_transforms else None,
        config.early_stopping_patience,
        callbacks=_callbacks(config, len(train_loader)),
        settings=LoopSettings.of_training(config),
        early_stopping=_early_stopping(config),
        config=whole(config, model),
        loop_class=ReaderLoop if digits else Loop,
        metrics=partial(OCRMetrics, kind=kind) if digits else ClassificationMetrics,
    )
    trainer.loop.plateau_metric = config.early_stopping_monitor
    return trainer


def _checkpoint_manager(manager: ExperimentManager, config: TrainingConfig) -> CheckpointManager:
    return CheckpointManager(
        manager.checkpoints_dir,
        keep_n_checkpoints=config.keep_n_checkpoints,
        save_frequency=config.save_every_n_epochs,
    )


def _early_stopping(config: TrainingConfig) -> EarlyStoppingCallback:
    return EarlyStoppingCallback(
        config.early_stopping_monitor,
        config.early_stopping_patience,
        config.early_stopping_min_delta,
        config.early_stopping_mode,
    )


def _callbacks(config: TrainingConfig, batches: int) -> list[Callback]:
    return [
        *([ScheduledChanges(config)] if config.changes else []),
        ProgressBar(batches, config.num_epochs),
        InterruptAfterBatch(),
    ]


def _warn_if_fixed(dataset: Any, config: TrainingConfig) -> None:
    """Log a warning if the dataset has no transforms to draw again."""
    if not can_reapply(dataset):
        logger.warning(
            "--reapply-transforms has no effect: the dataset %r has no random transforms%s",
            config.dataset_name,
            "" if config.augmentation else "; set augmentation=true",
        )


def can_reapply(dataset: Any) -> bool:
    """Whether a dataset's `reapply_transforms` draws anything."""
    own = getattr(type(dataset), "reapply_transforms", None)
    if own is None or own is BaseDataset.reapply_transforms:
        return False
    if isinstance(dataset, ImageDataset):
        composed = getattr(dataset, "composed", 0)  # such images are new ones in every epoch
        return dataset.augmentation and not composed and dataset.augment() is not None
    return True
