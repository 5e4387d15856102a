"""`PartsTrainer`: any model, loaders, loss and metrics on the one loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import nn

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.training.device import get_device
from raytune_ocr.training.trainer import Metrics
from raytune_ocr.training.trainers.base import BaseTrainer


class Parts(Protocol):
    """What a task builds; `tasks.base.Parts` documents it."""

    model: Any
    train_loader: Any
    val_loader: Any
    loss: Callable[..., Any] | None
    metrics: Callable[[], Any] | None


class PartsTrainer(BaseTrainer):
    """Trains the parts that a task has built, as `config` says."""

    def __init__(self, parts: Parts, config: TrainingConfig) -> None:
        self.parts = parts
        device = get_device(config.device)
        super().__init__(parts.model, parts.train_loader, parts.val_loader, config, device)

    def _create_loss_function(self) -> nn.Module:
        return self.parts.loss  # type: ignore[return-value]

    def _create_metrics_calculator(self) -> Metrics | None:
        return self.parts.metrics() if self.parts.metrics is not None else None
