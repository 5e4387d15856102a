"""Callbacks that save checkpoints and keep the best weights."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from raytune_ocr.config.metrics import mode_of
from raytune_ocr.training.callbacks.base import Callback, TrainingLoop, monitored
from raytune_ocr.training.callbacks.early_stopping import EarlyStopping
from raytune_ocr.training.checkpoints.checkpoint import CheckpointManager


class BestWeights(Callback):
    """Keeps the weights and metrics of the best epoch, and puts the weights back at the end.

    Args:
        best_of: the best of some epochs' metrics, such as `TrainingConfig.best_of`.
    """

    def __init__(
        self, best_of: Callable[[Sequence[Mapping[str, float]]], Mapping[str, float]]
    ) -> None:
        self.best_of = best_of
        self.best_epoch = -1
        self.best_metrics: dict[str, float] = {}
        self.weights: dict[str, Any] = {}

    def on_epoch_end(self, trainer: TrainingLoop, epoch: int, metrics: dict[str, float]) -> None:
        if self.best_of([self.best_metrics, metrics]) is metrics:
            self.best_epoch = epoch
            self.best_metrics = dict(metrics)
            self.weights = copy.deepcopy(trainer.evaluated_model.state_dict())

    def on_train_end(self, trainer: TrainingLoop) -> None:
        if self.weights:
            trainer.load_weights(self.weights)

    def state_dict(self) -> dict[str, Any]:
        return {
            "best_epoch": self.best_epoch,
            "best_metrics": self.best_metrics,
            "weights": self.weights,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best_epoch = state["best_epoch"]
        self.best_metrics = dict(state["best_metrics"])
        self.weights = dict(state["weights"])


class Checkpoints(Callback):
    """Writes the best checkpoint, and a numbered one every `frequency` epochs and of the last one.

    Args:
        monitor: the metric that decides which epoch is the best; None: no best one is written.
        mode: "min" or "max" if the metric's name does not imply it.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        frequency: int = 1,
        monitor: str | None = None,
        mode: str | None = None,
    ) -> None:
        self.files = CheckpointManager(folder, save_frequency=frequency)
        self.monitor = monitor
        self.best = EarlyStopping(0, 0.0, mode_of(monitor, mode)) if monitor else None

    @property
    def name(self) -> str:
        return "BestCheckpoint"  # as in states of version 0.1

    def on_epoch_end(self, trainer: TrainingLoop, epoch: int, metrics: dict[str, float]) -> None:
        if self.best is not None and self.monitor is not None:
            self._save_if_best(trainer, epoch, monitored(metrics, self.monitor), self.best)
        last = trainer.should_stop or trainer.epoch == trainer.num_epochs
        if last or self.files.is_due(trainer.epoch):
            self._save(trainer)

    def _save_if_best(
        self, trainer: TrainingLoop, epoch: int, score: float, best: EarlyStopping
    ) -> None:
        best(score, epoch)
        if best.best_epoch == epoch:
            trainer._save_checkpoint(str(self.files.best_path), trainer.epoch, score)

    def _save(self, trainer: TrainingLoop) -> None:
        trainer._save_checkpoint(str(self.files.path_of(trainer.epoch)), trainer.epoch)

    def on_callback_error(self, trainer: TrainingLoop) -> None:
        self._save(trainer)

    def state_dict(self) -> dict[str, Any]:
        return self.best.state_dict() if self.best is not None else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self.best is not None and state:
            self.best.load_state_dict(state)
