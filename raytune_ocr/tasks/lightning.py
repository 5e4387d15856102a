"""Lightning's trainer in a training function (extra `lightning`).

    def train(parameters, context):
        trial = TrialCallback(context)
        trainer = Trainer(**trainer_options(context), callbacks=[trial])
        trainer.fit(Regressor(**parameters), loader, val_loader, ckpt_path=trial.checkpoint)

Every epoch is reported with the metrics that the module has logged, and Lightning's own checkpoint
is kept for a resume.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer

if TYPE_CHECKING:
    from raytune_ocr.tasks.context import FunctionContext

CHECKPOINT = "lightning.ckpt"
"""The name of the file in the folder that the trial keeps."""


def trainer_options(context: FunctionContext) -> dict[str, Any]:
    """Return what a trial asks of Lightning's `Trainer`: its epochs, its device, no files."""
    return {
        "max_epochs": context.epochs,
        "accelerator": "gpu" if context.device.type == "cuda" else "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }


class TrialCallback(Callback):
    """Reports each epoch of a trial, and resumes it.

    Args:
        context: what the training function got.

    Attributes:
        checkpoint: for `trainer.fit(..., ckpt_path=...)`; None where the training starts.
    """

    def __init__(self, context: FunctionContext) -> None:
        self.context = context
        folder = context.load_folder()
        self.checkpoint = None if folder is None else str(folder / CHECKPOINT)
        self._is_resuming = folder is not None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the generators the state that they had, before Lightning begins to read batches."""
        self.context.load()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the generators their state again in the first epoch of a resume.

        Older versions of Lightning begin to read batches again after this.
        """
        if self._is_resuming and not hasattr(trainer.fit_loop, "is_resuming"):
            self.context.load()
        self._is_resuming = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the checkpoint and report; Lightning has validated before.

        Raises:
            TrialStopped: the trial ends here; Lightning passes it on.
        """
        with tempfile.TemporaryDirectory(prefix="raytune_ocr_") as folder:
            trainer.save_checkpoint(Path(folder) / CHECKPOINT)
            self.context.save_folder(folder)
        metrics = trainer.callback_metrics
        self.context.report({name: float(value) for name, value in metrics.items()})
