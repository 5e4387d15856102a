"""Training in numbered experiment folders: `exp1`, `exp2`, …, resumed and forked.

`ExperimentManager` owns the folder, `ExperimentTrainer` hands its parts to the one loop.
Accuracies are in **percent** here and in `MetricsTracker`, as document 002 has them; everywhere
else they are fractions.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils.data import DataLoader

from raytune_ocr.config.metrics import CLASSIFIER_MONITOR
from raytune_ocr.config.settings import check
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError, IncompleteCheckpointError
from raytune_ocr.training.callbacks.base import Callback, TrainingLoop, monitored
from raytune_ocr.training.callbacks.early_stopping import EarlyStoppingCallback
from raytune_ocr.training.callbacks.epoch_log import CurvesPicture, EpochLog, read_epoch_log
from raytune_ocr.training.checkpoints.checkpoint import CheckpointManager, model_config
from raytune_ocr.training.experiments.folder import ExperimentManager
from raytune_ocr.training.loop_settings import LoopSettings
from raytune_ocr.training.loops import Loop
from raytune_ocr.training.metrics import ClassificationMetrics
from raytune_ocr.training.trainer import Metrics

logger = logging.getLogger(__name__)

MONITOR = CLASSIFIER_MONITOR


class SupportsTransforms(Protocol):
    """What the trainer asks of a dataset: new random transforms for an epoch, from 0."""

    def reapply_transforms(self, epoch: int) -> None: ...


class ExperimentTrainer:
    """Trains a classifier in an experiment folder, with checkpoints, a log and a picture.

    Args:
        model: gives logits [B, C].
        train_loader, val_loader: batches `(inputs, labels int64 [B])`.
        criterion: `(outputs, labels) -> loss`.
        checkpoint_manager: default: one in the experiment's folder.
        scheduler: stepped each epoch (ReduceLROnPlateau with the validation loss).
        dataset: its `reapply_transforms(epoch)` is called before every epoch.
        patience: epochs without a better validation accuracy before stopping; 0: never.
        early_stopping: stops instead of that; what is best remains the validation accuracy.
        callbacks: more `Callback`s, or functions `(loop, epoch, metrics)`.
        settings: of the loop.
        config: what all this was made from; its fields are kept in the checkpoints.
        loop_class: what knows the model's outputs.
        metrics: makes what measures predictions, in fractions: `accuracy` or `char_accuracy`.

    With an `experiment_manager` that resumes or forks, `train` loads the earlier checkpoint.
    """

    def __init__(
        self,
        model: nn.Module,
        train_loader: DataLoader,
        val_loader: DataLoader,
        criterion: nn.Module,
        optimizer: torch.optim.Optimizer,
        device: torch.device | str,
        experiment_manager: ExperimentManager,
        checkpoint_manager: CheckpointManager | None = None,
        scheduler: Any | None = None,
        dataset: SupportsTransforms | None = None,
        patience: int = 0,
        *,
        callbacks: Sequence[Any] = (),
        settings: LoopSettings | None = None,
        early_stopping: EarlyStoppingCallback | None = None,
        config: TrainingConfig | None = None,
        loop_class: type[Loop] = Loop,
        metrics: Callable[[], Metrics] = ClassificationMetrics,
    ) -> None:
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.experiment_manager = experiment_manager
        self.checkpoint_manager = checkpoint_manager or CheckpointManager(
            experiment_manager.checkpoints_dir
        )
        self.dataset = dataset
        self.patience = patience
        self.callbacks = list(callbacks)
        self.config = config
        self.loop = loop_class(model, optimizer, criterion, settings, device, scheduler)
        self.loop.plateau_metric = "val_loss"
        self.loop.batch_size = getattr(train_loader, "batch_size", None) or 0
        self.loop.trains = lambda epoch: self.train_epoch(epoch)[0]
        self.loop.validates = lambda: self.validate()[0]
        self.loop.train_metrics = Percent(metrics())
        self.loop.eval_metrics = Percent(metrics())
        self.early_stopping = early_stopping or EarlyStoppingCallback(MONITOR, patience, mode="max")
        self._opened = False

    @property
    def model(self) -> nn.Module:
        """The model that is trained."""
        return self.loop.model

    @property
    def history(self) -> dict[str, list[float]]:
        """`train_loss`, `train_accuracy`, `val_loss`, `val_accuracy`, …: a value an epoch."""
        return self.loop.history

    @property
    def best_accuracy(self) -> float:
        """The best validation accuracy, in percent; 0 before the first epoch."""
        return self._accuracies.get(self.best_epoch, 0.0)

    @property
    def best_epoch(self) -> int:
        """The epoch of the best validation accuracy, from 1; 0 before the first epoch."""
        return max(self._accuracies, key=self._accuracies.__getitem__, default=0)

    @property
    def _accuracies(self) -> dict[int, float]:
        """The validation accuracy, by epoch from 1, where there is one."""
        values = enumerate(self.history.get(MONITOR, []), 1)
        return {epoch: value for epoch, value in values if not math.isnan(value)}

    @property
    def epochs_without_improvement(self) -> int:
        """Epochs since the best one for early stopping."""
        return self.early_stopping.stopping.waited

    def train(self, epochs: int, start_epoch: int = 0) -> dict[str, Any]:
        """Train until `epochs` epochs are done in all.

        Args:
            start_epoch: epochs that were done before; a resumed experiment knows its own.

        Returns:
            `epochs_trained` (by this call), `best_accuracy` (percent), `training_time` (seconds),
            `history`, `experiment_dir`, `stopped_early`, `best_epoch` (from 1).

        Raises:
            DivergenceError: when the loss became NaN or infinite; checkpoints are left as they
                were after the last good epoch.
        """
        self.open()
        self._describe(epochs)
        self.loop.start_at(max(start_epoch, self.loop.epoch))
        first, started = self.loop.epoch, time.perf_counter()
        self.loop.train(
            self.train_loader,
            epochs,
            self.val_loader,
            best_model_metric=None,
            callbacks=self._assemble_callbacks(epochs),
        )
        return {
            "epochs_trained": self.loop.epoch - first,
            "best_accuracy": self.best_accuracy,
            "training_time": time.perf_counter() - started,
            "history": self.history,
            "experiment_dir": self.experiment_manager.experiment_dir,
            "stopped_early": self.loop.stop_reason == "early_stopping",
            "best_epoch": self.best_epoch,
        }

    def open(self) -> None:
        """Load the checkpoint that is resumed or forked, once; `train` does so itself.

        Raises:
            CheckpointError: when it is damaged, incomplete or of another model.
        """
        if self._opened:
            return
        self._opened = True
        manager = self.experiment_manager
        if manager.resumed:
            state = self.checkpoint_manager.load_latest()
            if state is None:
                logger.warning("%s: no checkpoint yet; starts at epoch 1", manager.experiment_dir)
            elif "history" in state:
                self.loop.load_state_dict(state)
            else:
                raise IncompleteCheckpointError(
                    f"{manager.checkpoints_dir}: the latest checkpoint has weights but no training "
                    "state to resume from; fork the experiment instead"
                )
        elif manager.parent_checkpoint is not None:
            report = self.checkpoint_manager.load_checkpoint(
                manager.parent_checkpoint, self.model, strict=False
            )
            logger.info(
                "forked from %s: %d of %d layers loaded",
                manager.parent,
                report["loaded_layers"],
                report["total_layers"],
            )

    def _describe(self, epochs: int) -> None:
        """Write the experiment's config file, if it is missing, from the settings of the parts.

        Names are those of `TrainingConfig`; other parts are left out.
        """
        manager = self.experiment_manager
        if manager.config_of(manager.base_dir, manager.name).keys() - {"parent"}:
            return
        group = self.loop.optimizer.param_groups[0]
        settings = {
            "model_name": model_config(self.model).get("name"),
            "batch_size": getattr(self.train_loader, "batch_size", None),
            "num_epochs": epochs,
            "learning_rate": group.get("initial_lr", group["lr"]),
            "weight_decay": group.get("weight_decay"),
            "optimizer_type": type(self.loop.optimizer).__name__.lower(),
            "early_stopping_patience": self.patience,
            "early_stopping_monitor": self.early_stopping.monitor,
            "device": str(self.loop.device),
        }
        manager.save_config({name: value for name, value in settings.items() if _fits(name, value)})

    def _assemble_callbacks(self, epochs: int) -> list[Any]:
        """Checkpoints hold the state of all other callbacks, so they are saved after these."""
        transforms = [] if self.dataset is None else [Transforms(self.dataset)]
        manager = self.experiment_manager
        return [
            *transforms,
            self.early_stopping,
            EpochLog(manager.log_file, epochs),
            CurvesPicture(manager.plot_file),
            *self.callbacks,
            ExperimentCheckpoints(self.checkpoint_manager, self.config),
        ]

    def train_epoch(self, epoch: int) -> tuple[dict[str, float], float]:
        """One pass over the training batches: metrics, and batches a second."""
        started = time.perf_counter()
        figures = self.loop.train_pass(self.train_loader, epoch)
        return figures, _batches(self.train_loader) / (time.perf_counter() - started)

    def validate(self) -> tuple[dict[str, float], float]:
        """One pass over the validation batches: metrics, and batches a second."""
        started = time.perf_counter()
        metrics = self.loop.evaluate(self.val_loader)
        return metrics, _batches(self.val_loader) / (time.perf_counter() - started)

    def load_history_from_log(self) -> int:
        """Read `history` from the log file; returns the last epoch that it holds."""
        self.loop.history = read_epoch_log(self.experiment_manager.log_file)
        return max((len(values) for values in self.history.values()), default=0)


def _batches(loader: Any) -> float:
    """Batches an epoch; NaN where the loader does not know."""
    try:
        return len(loader)
    except TypeError:
        return math.nan


def _fits(name: str, value: Any) -> bool:
    """Whether a field of `TrainingConfig` may have that value."""
    try:
        check(name, value)
    except ConfigurationError:
        return False
    return True


class Percent:
    """Metrics in percent, from a calculator of fractions."""

    def __init__(self, calculator: Metrics) -> None:
        self.calculator = calculator

    def reset(self) -> None:
        """Forget everything."""
        self.calculator.reset()

    def update(self, predictions: Any, targets: Any) -> None:
        """Add a batch."""
        self.calculator.update(predictions, targets)

    def compute(self) -> dict[str, float]:
        """The calculator's figures, times 100; a reader's digits count as its `accuracy`."""
        figures = {name: 100 * value for name, value in self.calculator.compute().items()}
        if "accuracy" not in figures and "char_accuracy" in figures:
            figures["accuracy"] = figures["char_accuracy"]
        return figures


class Transforms(Callback):
    """Asks the dataset for new random transforms before every epoch."""

    def __init__(self, dataset: SupportsTransforms) -> None:
        self.dataset = dataset

    def on_train_begin(self, trainer: TrainingLoop) -> None:
        self.dataset.reapply_transforms(trainer.epoch)

    def on_epoch_end(self, trainer: TrainingLoop, epoch: int, metrics: dict[str, float]) -> None:
        self.dataset.reapply_transforms(epoch + 1)


class ExperimentCheckpoints(Callback):
    """Writes the best, the latest and, when one is due, the numbered checkpoint of an epoch.

    Args:
        config: its fields are kept beside the weights, for whatever rebuilds the model.
    """

    def __init__(self, manager: CheckpointManager, config: TrainingConfig | None = None) -> None:
        self.manager = manager
        self.known = {} if config is None else {"config": config.to_dict()}

    def on_epoch_end(self, trainer: TrainingLoop, epoch: int, metrics: dict[str, float]) -> None:
        loss, accuracy = metrics.get("val_loss", math.nan), monitored(metrics, MONITOR)
        self._save(trainer, loss, accuracy)

    def on_callback_error(self, trainer: TrainingLoop) -> None:
        last = {name: values[-1] for name, values in trainer.history.items()}
        self._save(trainer, last.get("val_loss", math.nan), last.get(MONITOR, math.nan))

    def _save(self, trainer: TrainingLoop, loss: float, accuracy: float) -> None:
        manager, epoch = self.manager, trainer.epoch
        state = {**trainer.state_dict(), **self.known}
        about = (trainer.model, trainer.optimizer, epoch, loss, accuracy, state)
        manager.save_best_model(*about)
        manager.save_latest_checkpoint(*about)
        if manager.is_due(epoch):
            manager.save_epoch_checkpoint(*about)
