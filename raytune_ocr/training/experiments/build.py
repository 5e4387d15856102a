"""The experiment trainer for a `TrainingConfig`."""

from __future__ import annotations

from collections.abc import Callable

from raytune_ocr.config.metrics import KHMER_DIGITS
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import BaseDataset, create_dataset
from raytune_ocr.models import ModelRegistry
from raytune_ocr.plugins import import_modules
from raytune_ocr.training.callbacks.early_stopping import EarlyStoppingCallback
from raytune_ocr.training.callbacks.progress_bar import InterruptAfterBatch, ProgressBar
from raytune_ocr.training.callbacks.scheduled_changes import Changes
from raytune_ocr.training.checkpoint import CheckpointManager
from raytune_ocr.training.classifier import classification_loss
from raytune_ocr.training.device import get_device
from raytune_ocr.training.experiments.folder import ExperimentManager
from raytune_ocr.training.experiments.trainer import ExperimentTrainer
from raytune_ocr.training.loops import ReaderLoop, loop_settings
from raytune_ocr.training.losses import create_loss_function
from raytune_ocr.training.metrics import OCRMetrics
from raytune_ocr.training.model_config import create_model_from_config, whole
from raytune_ocr.training.optim import setup_optimizer_and_scheduler
from raytune_ocr.training.rng import seed_everything
from raytune_ocr.training.trainer import Trainer


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
