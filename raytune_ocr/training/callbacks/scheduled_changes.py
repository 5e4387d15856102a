"""Settings that change during training, after the same epochs however often it is resumed."""

from __future__ import annotations

from torch import nn

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.training.callbacks.base import Callback, TrainingLoop
from raytune_ocr.training.losses import set_label_smoothing
from raytune_ocr.training.optim.lr_schedules import apply_changes


class ScheduledChanges(Callback):
    """Applies the `changes` of a config at their epochs.

    A saved state holds earlier changes in its optimizer and schedule, but neither the clipping
    norm nor the label smoothing; so all of them are set before every epoch.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config

    def on_epoch_begin(self, trainer: TrainingLoop, epoch: int) -> None:
        if epoch < min(change["after_epoch"] for change in self.config.changes):
            return
        now = self.config.after(epoch)
        apply_changes(self.config, epoch, trainer.optimizer, trainer.scheduler)
        trainer.max_grad_norm = now.gradient_clip_norm
        if isinstance(trainer.loss_fn, nn.Module):
            set_label_smoothing(trainer.loss_fn, now.label_smoothing)
