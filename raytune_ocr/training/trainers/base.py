"""`BaseTrainer`: a config, two loaders and a model around the one loop, with files and logs.

It builds the parts, hands them to the loop, and writes a run's files under
`<output_dir>/<experiment_name>/`: `checkpoints/`, `logs/`, `tensorboard/`, `config.yaml`.
"""

from __future__ import annotations

import logging
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import IncompleteCheckpointError
from raytune_ocr.training.callbacks.base import Callback, FunctionCallback, TrainingLoop
from raytune_ocr.training.callbacks.checkpoints import BestWeights
from raytune_ocr.training.callbacks.early_stopping import EarlyStoppingCallback
from raytune_ocr.training.callbacks.epoch_log import EpochLog
from raytune_ocr.training.callbacks.scheduled_changes import ScheduledChanges
from raytune_ocr.training.callbacks.tensorboard import TensorBoardLogger
from raytune_ocr.training.checkpoints.checkpoint import CheckpointManager
from raytune_ocr.training.checkpoints.run_folder import RunFolder
from raytune_ocr.training.checkpoints.state_files import read_state, write_state
from raytune_ocr.training.device import get_device
from raytune_ocr.training.loop_settings import LoopSettings
from raytune_ocr.training.loops import Augment, Loop
from raytune_ocr.training.optim.build import setup_optimizer_and_scheduler

logger = logging.getLogger(__name__)


class BaseTrainer(ABC):
    """Trains `model` on `train_loader`, measures it on `val_loader`, as `config` says.

    Args:
        model: moved to `device`.
        train_loader: batches `(inputs, targets)`; its sampler's `set_epoch` is called.
        val_loader: batches to measure on.
        config: checked again here, since fields may have been assigned.
        device: where to train.
        callbacks: more callbacks, or functions `(loop, epoch, metrics)`, called after the
            trainer's own.

    A subclass that overrides `_train_epoch` or `_validate_epoch` trains or validates its own way;
    what these return stands in each epoch's metrics.

    Raises:
        ConfigurationError: when the config breaks a rule, and for a device that is not there.
    """

    def __init__(
        self,
        model: nn.Module,
        train_loader: DataLoader,
        val_loader: DataLoader,
        config: TrainingConfig,
        device: torch.device | str,
        callbacks: Sequence[Callback | Callable[..., None]] = (),
    ) -> None:
        config.validate()
        self.config = config
        self.device = get_device(device)
        self.model = model.to(self.device)
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.callbacks = list(callbacks)
        self.reporters: list[Callback] = []
        self.folder = RunFolder(config.output_dir, config.experiment_name)
        self.checkpoints = CheckpointManager(
            self.folder.checkpoints, keep_n_checkpoints=config.keep_n_checkpoints
        )
        self.optimizer, self.scheduler = setup_optimizer_and_scheduler(self.model, config)
        self.loss_fn = self._create_loss_function()
        self.metrics = self._create_metrics_calculator()
        self.loop = self._create_loop()
        self.best = BestWeights(config.best_of)
        self.training_history: list[dict[str, float]] = []

    @abstractmethod
    def _create_loss_function(self) -> nn.Module:
        """The loss to train with."""

    @abstractmethod
    def _create_metrics_calculator(self) -> Any:
        """Return the metrics calculator: `reset`, `update(predictions, targets)`, `compute`."""

    def _create_loop(self) -> Loop:
        """Build the loop with this trainer's parts."""
        loop = self._loop_class()(
            self.model,
            self.optimizer,
            self.loss_fn,
            config=LoopSettings.of_training(self.config),
            device=self.device,
            scheduler=self.scheduler,
        )
        loop.train_metrics = self._create_metrics_calculator()
        loop.eval_metrics = self.metrics
        loop.plateau_metric = self.config.early_stopping_monitor
        loop.trains = lambda epoch: self._train_epoch()
        loop.validates = lambda: self._validate_epoch()
        loop.seed = self.config.seed
        loop.batch_size = self.config.batch_size
        loop.augment = self._create_augment() if self.config.augmentation else None
        return loop

    def _create_augment(self) -> Augment | None:
        """Return the augmentation of training batches, or None."""
        return None

    def _loop_class(self) -> type[Loop]:
        return Loop

    @property
    def current_epoch(self) -> int:
        """Epochs finished."""
        return self.loop.epoch

    @property
    def stop_reason(self) -> str:
        """Why training ended: max_epochs, early_stopping, or what a callback set; "" before."""
        return self.loop.stop_reason

    @property
    def best_val_loss(self) -> float:
        """The lowest validation loss of any epoch; infinity before the first."""
        losses = (row.get("val_loss", math.nan) for row in self.training_history)
        return min((loss for loss in losses if not math.isnan(loss)), default=math.inf)

    def train(self) -> dict[str, Any]:
        """Train until `num_epochs` epochs are done in all; the model ends with the best weights.

        Returns:
            `best_epoch` (from 1) and `best_<metric>` for every metric of that epoch,
            `best_val_loss` (the lowest of all), `final_train_loss`, `total_epochs`,
            `stop_reason`, `training_time` (seconds of this call), `training_history`,
            `experiment_dir`.

        Raises:
            DivergenceError: when the loss became NaN or infinite.
        """
        self.config.save_yaml(self.folder.config_file)
        self.loop.start_at(self.loop.epoch)
        started = time.perf_counter()
        with torch.autograd.set_detect_anomaly(self.config.debug_mode):
            self.loop.train(
                self.train_loader,
                self.config.num_epochs,
                self.val_loader,
                best_model_metric=None,
                callbacks=self._assemble_callbacks(),
            )
        return self._summary(time.perf_counter() - started)

    def _assemble_callbacks(self) -> list[Callback | Callable[..., None]]:
        """The trainer's own ones, the user's, the one that saves, the reporters.

        Checkpoints hold the state of all other callbacks, so they are saved after these. A report
        may end the run, so it comes once its epoch is saved.
        """
        config = self.config
        steps = config.log_every_n_steps if config.debug_mode else 0
        callbacks: list[Callback | Callable[..., None]] = [
            *([ScheduledChanges(config)] if config.changes else []),
            self.best,
            EarlyStoppingCallback(
                config.early_stopping_monitor,
                config.early_stopping_patience,
                config.early_stopping_min_delta,
                config.early_stopping_mode,
            ),
            FunctionCallback(self._add_epoch),
            EpochLog(self.folder.log_file, config.num_epochs, steps),
        ]
        if config.use_tensorboard:
            callbacks.append(
                TensorBoardLogger(
                    self.folder.tensorboard,
                    config.log_every_n_steps,
                    config.to_dict(),
                    {"val_loss": "min", config.early_stopping_monitor: config.early_stopping_mode},
                    self._pictures,
                )
            )
        return [*callbacks, *self.callbacks, _Saves(self), *self.reporters]

    def _pictures(self) -> dict[str, np.ndarray]:
        """Return images of the trained model for TensorBoard, uint8 [H, W, 3] by name."""
        return {}

    def _add_epoch(self, loop: TrainingLoop, epoch: int, metrics: dict[str, float]) -> None:
        self.training_history.append({"epoch": epoch + 1, **metrics})
        parts = {
            side: {k: v for k, v in metrics.items() if k.startswith(side)}
            for side in ("train", "val")
        }
        self._log_epoch_results(parts["train"], parts["val"])

    def _log_epoch_results(
        self, train_results: Mapping[str, float], val_results: Mapping[str, float]
    ) -> None:
        """One line to the logger after each epoch."""
        figures = {**train_results, **val_results}
        line = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
        logger.info("epoch %d/%d  %s", self.current_epoch, self.config.num_epochs, line)

    def best_state(self) -> dict[str, Any]:
        """The best epoch's model for readers of it: weights, config, metrics and epoch."""
        return {
            "epoch": self.best.best_epoch + 1,
            "model_state_dict": self.best.weights,
            "config": self.config.to_dict(),
            "metrics": dict(self.best.best_metrics),
        }

    def _train_epoch(self) -> dict[str, float]:
        """One pass over the training batches: `loss` and the metrics, by their plain names."""
        return self.loop.train_pass(self.train_loader, self.current_epoch)

    def _validate_epoch(self) -> dict[str, float]:
        """One pass over the validation batches: `loss` and the metrics, by their plain names."""
        return self.loop.evaluate(self.val_loader)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the run depends on."""
        return {
            **self.loop.state_dict(),
            "config": self.config.to_dict(),
            "training_history": self.training_history,
        }

    def load_state(self, path: str | os.PathLike[str]) -> None:
        """Resume from a file of `state_dict()`; on a CPU, the run is bit-equal to one that ran on.

        Raises:
            CheckpointError: when it is damaged or of another model.
        """
        state = read_state(path, self.device)
        if "training_history" not in state:
            raise IncompleteCheckpointError(
                f"{path}: has a model but no training state to resume from"
            )
        self.loop.load_state_dict(state)
        self.training_history = [dict(row) for row in state["training_history"]]

    def _summary(self, seconds: float) -> dict[str, Any]:
        history = self.training_history
        best = {f"best_{name}": value for name, value in self.best.best_metrics.items()}
        return {
            **best,
            "best_epoch": self.best.best_epoch + 1,
            "best_val_loss": self.best_val_loss,
            "final_train_loss": history[-1].get("train_loss", math.nan),
            "total_epochs": len(history),
            "stop_reason": self.stop_reason,
            "training_time": seconds,
            "training_history": history,
            "experiment_dir": str(self.folder.path),
        }


class _Saves(Callback):
    """Saves the model of a new best epoch, and the state every few epochs and of the last one."""

    def __init__(self, trainer: BaseTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, trainer: TrainingLoop) -> None:
        if self.trainer.best.weights and not self.trainer.checkpoints.best_path.exists():
            self._save_best()  # the run was resumed in another folder

    def on_epoch_end(self, trainer: TrainingLoop, epoch: int, metrics: dict[str, float]) -> None:
        owner, number = self.trainer, epoch + 1
        if owner.best.best_epoch == epoch:
            self._save_best()
        last = number == owner.config.num_epochs or trainer.should_stop
        if last or number % owner.config.save_every_n_epochs == 0:
            owner.checkpoints.save_state(owner.state_dict(), number)

    def on_callback_error(self, trainer: TrainingLoop) -> None:
        self.trainer.checkpoints.save_state(self.trainer.state_dict(), trainer.epoch)
        if self.trainer.best.best_epoch == trainer.epoch - 1:
            self._save_best()

    def _save_best(self) -> None:
        write_state(self.trainer.checkpoints.best_path, self.trainer.best_state())
