"""The task of readers of Khmer digit strings; the keys of its results are those of document 004."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import CheckpointError
from raytune_ocr.tasks.base import Metric
from raytune_ocr.tasks.classifier import ClassifierTask

CHARACTERS, SEQUENCES = "val_char_accuracy", "val_seq_accuracy"
RANKED_BY = (Metric(CHARACTERS, "max"), Metric(SEQUENCES, "max"), Metric("val_loss", "min"))


class ReaderTask(ClassifierTask):
    """Trains readers; ranked by character accuracy, then by sequence accuracy."""

    name: ClassVar[str] = "reader"
    columns: ClassVar[tuple[str, ...]] = (
        "train_loss",
        "train_char_accuracy",
        "train_seq_accuracy",
        "val_loss",
        CHARACTERS,
        SEQUENCES,
        "val_cer",
    )
    figures: ClassVar[dict[str, str]] = {
        "best_val_char_accuracy": CHARACTERS,
        "best_val_seq_accuracy": SEQUENCES,
    }
    targets: ClassVar[dict[str, str]] = {
        "character_accuracy": "best_val_char_accuracy",
        "sequence_accuracy": "best_val_seq_accuracy",
    }

    def ranked_by(self, config: TrainingConfig) -> tuple[Metric, ...]:
        """Return character accuracy, sequence accuracy and loss, whatever the monitor is."""
        return RANKED_BY

    def shown(self, config: TrainingConfig) -> dict[str, str]:
        """Return both accuracies."""
        return {"char": CHARACTERS, "seq": SEQUENCES}

    def check(self, config: TrainingConfig, data: Any = None) -> None:
        """Build the reader, which depends on no data."""
        from raytune_ocr.training import create_model_from_config

        create_model_from_config(config)

    def read_test_split(
        self, config: TrainingConfig, checkpoint: Path, best: Mapping[str, Any], allow_outside: bool
    ) -> dict[str, Any]:
        """Evaluate the best model on the test split."""
        from raytune_ocr.tasks.reader_test_split import read_test_split

        return read_test_split(config, checkpoint, best, allow_outside)

    def log_picture(
        self, config: TrainingConfig, checkpoint: Path, data: Any, folder: Path, step: int
    ) -> None:
        """Add the first validation images with their readings."""
        import torch

        from raytune_ocr.training import load_reader
        from raytune_ocr.training.callbacks.tensorboard import event_writer
        from raytune_ocr.training.evaluate import PICTURED, PREDICTIONS, prediction_sheet

        try:
            model, _ = load_reader(checkpoint)
        except CheckpointError:  # an image must not end a run
            return
        split = data.splits[config.val_split]
        images = torch.from_numpy(split.images[:PICTURED].copy()).unsqueeze(1)
        targets = torch.from_numpy(split.targets[:PICTURED].copy())
        sheet = prediction_sheet(model, images, targets, getattr(model, "kind", "attention"))
        with event_writer(folder) as writer:
            writer.add_image(PREDICTIONS, sheet, step, dataformats="HWC")
