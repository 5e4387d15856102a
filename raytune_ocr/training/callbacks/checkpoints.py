"""Callbacks that save checkpoints and the best weights."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_ocr.config.metrics import mode_of

if TYPE_CHECKING:
    from raytune_ocr.training.trainer import Trainer
from raytune_ocr.training.callbacks.base import Callback, monitored
from raytune_ocr.training.callbacks.early_stopping import EarlyStopping


class BestWeights(Callback):
    """Remembers the weights and metrics of the best epoch, and puts the weights back at the end.

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

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, float]) -> None:
        if self.best_of([self.best_metrics, metrics]) is metrics:
            self.best_epoch = epoch
            self.best_metrics = dict(metrics)
            self.weights = copy.deepcopy(trainer.evaluated_model.state_dict())

    def on_train_end(self, trainer: Trainer) -> None:
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


class PeriodicCheckpoint(Callback):
    """Writes `checkpoint_epoch_N.pt` every `frequency` epochs, N counted from 1."""

    def __init__(self, folder: str | os.PathLike[str], frequency: int = 1) -> None:
        self.folder = Path(folder)
        self.frequency = frequency

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, float]) -> None:
        if (epoch + 1) % self.frequency == 0 or trainer.should_stop:
            self._save(trainer)

    def on_callback_error(self, trainer: Trainer) -> None:
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        path = self.folder / f"checkpoint_epoch_{trainer.epoch}.pt"
        trainer._save_checkpoint(str(path), trainer.epoch - 1)


class BestCheckpoint(Callback):
    """Writes `best_model.pt` whenever `monitor` is better than ever before."""

    def __init__(self, folder: str | os.PathLike[str], monitor: str) -> None:
        self.folder = Path(folder)
        self.monitor = monitor
        self.best = EarlyStopping(0, 0.0, mode_of(monitor))

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, float]) -> None:
        score = monitored(metrics, self.monitor)
        self.best(score, epoch)
        if self.best.best_epoch == epoch:
            trainer._save_checkpoint(str(self.folder / "best_model.pt"), epoch, score)

    def state_dict(self) -> dict[str, Any]:
        return self.best.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best.load_state_dict(state)
