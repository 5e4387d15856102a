"""Settings that change in mid-training: after the same epochs, however often a run is resumed."""

from __future__ import annotations

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.training.callbacks.base import Callback
from raytune_ocr.training.lr_schedules import go_on_with
from raytune_ocr.training.trainer import Trainer


class Changes(Callback):
    """Makes the `changes` of a config as their epochs come.

    A state that was saved after an epoch has the changes of the epochs before it in its optimizer
    and schedule, but not what follows from the config alone; so that is set before every epoch.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        if epoch < min(change["after_epoch"] for change in self.config.changes):
            return
        now = self.config.after(epoch)
        go_on_with(self.config, epoch, trainer.optimizer, trainer.scheduler)
        trainer.max_grad_norm = now.gradient_clip_norm
        for part in trainer.loss_fn.modules():  # type: ignore[union-attr]
            if "label_smoothing" in vars(part):
                part.label_smoothing = now.label_smoothing  # type: ignore[assignment]
