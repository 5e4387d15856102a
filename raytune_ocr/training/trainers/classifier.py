"""`ClassifierTrainer`: image classifiers on the one loop."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.training.loops import Augment
from raytune_ocr.training.metrics import ClassificationMetrics
from raytune_ocr.training.trainers.base import BaseTrainer


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


def classification_loss(config: TrainingConfig) -> nn.Module:
    """Cross entropy in float32, smoothed as `config` says."""
    return _WholeCrossEntropy(label_smoothing=config.label_smoothing)


class _WholeCrossEntropy(nn.CrossEntropyLoss):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super().forward(logits.float(), labels)
