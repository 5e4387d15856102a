"""A sheet of validation images in TensorBoard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_ocr.config.metrics import KHMER_DIGITS
from raytune_ocr.errors import CheckpointError
from raytune_ocr.results.record import TrialRecord

if TYPE_CHECKING:
    pass


ENDED_BY_THEMSELVES = ("", "max_epochs", "early_stopping")


def add_pictures(records: Iterable[TrialRecord], data: Mapping[str, Any]) -> None:
    """Add to TensorBoard what the best models of trials that were ended from outside read."""
    from raytune_ocr.config.training_config import data_key

    for record in records:
        config = record.config
        wanted = config.use_tensorboard and config.dataset_name == KHMER_DIGITS
        if wanted and record.checkpoint and record.stop_reason not in ENDED_BY_THEMSELVES:
            _add_picture(record, record.checkpoint, data[data_key(config)])


def _add_picture(record: TrialRecord, checkpoint: Path, dataset: Any) -> None:
    import torch

    from raytune_ocr.training import RunFolder, load_reader
    from raytune_ocr.training.callbacks.tensorboard import event_writer
    from raytune_ocr.training.evaluate import PICTURED, PREDICTIONS, prediction_sheet

    try:
        model, config = load_reader(checkpoint)
    except CheckpointError:  # a picture is no reason to end a run
        return
    split = dataset.splits[config.val_split]
    images = torch.from_numpy(split.images[:PICTURED].copy()).unsqueeze(1)
    targets = torch.from_numpy(split.targets[:PICTURED].copy())
    sheet = prediction_sheet(model, images, targets, getattr(model, "kind", "attention"))
    folder = RunFolder(record.config.output_dir, record.name).tensorboard
    with event_writer(folder) as writer:
        writer.add_image(PREDICTIONS, sheet, len(record.epochs), dataformats="HWC")
