"""Add images to the TensorBoard files of trials that the driver stopped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from raytune_ocr.results.record import TrialRecord
from raytune_ocr.training.checkpoints.run_folder import RunFolder

ENDED_BY_THEMSELVES = ("", "max_epochs", "early_stopping")


def add_pictures(records: Iterable[TrialRecord], data: Mapping[str, Any]) -> None:
    """Add images with the best models' predictions for trials that could not add them."""
    for record in records:
        config, checkpoint = record.config, record.checkpoint
        stopped = record.stop_reason not in ENDED_BY_THEMSELVES
        if config.use_tensorboard and checkpoint and stopped:
            folder = RunFolder(config.output_dir, record.name).tensorboard
            dataset = data.get(record.task.data_key(config))
            record.task.log_picture(config, checkpoint, dataset, folder, len(record.epochs))
