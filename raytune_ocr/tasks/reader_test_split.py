"""Evaluate the winner on the test split, which no choice has used before."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import create_dataset
from raytune_ocr.data.split_files import load_split, split_sizes
from raytune_ocr.errors import CheckpointError, DataLoaderError
from raytune_ocr.statistics import wilson
from raytune_ocr.training import load_reader
from raytune_ocr.training.evaluate import counts, measure, with_intervals

if TYPE_CHECKING:
    from raytune_ocr.data import PackedSplit

logger = logging.getLogger(__name__)

TEST_SPLIT = "test"


def read_test_split(
    config: TrainingConfig, checkpoint: Path, best: Mapping[str, Any], allow_outside: bool = False
) -> dict[str, Any]:
    """Evaluate a trial's best model on the test split, with 95 % Wilson intervals.

    Args:
        best: the metrics of its best epoch.

    Returns:
        `test_char_accuracy` and `test_seq_accuracy` (0 to 1), each with `_interval` [low, high];
        `test_images`, `test_digits`; and the intervals of both best validation accuracies. {} for
        data without a test split, or if the trial was trained or chosen on it.
    """
    if TEST_SPLIT in (config.train_split, config.val_split):
        return {}
    try:
        return _read(config, checkpoint, best, allow_outside)
    except (CheckpointError, DataLoaderError) as error:  # the run itself is complete
        logger.warning("could not evaluate on the test split: %s", error)
        return {}


def _read(
    config: TrainingConfig, checkpoint: Path, best: Mapping[str, Any], allow_outside: bool
) -> dict[str, Any]:
    if TEST_SPLIT not in split_sizes(config.metadata_path, allow_outside):
        return {}
    model, _ = load_reader(str(checkpoint))
    split = load_split(config.metadata_path, TEST_SPLIT, allow_outside=allow_outside)
    validation = _validated_on(config, allow_outside)
    totals = {"val_char_accuracy": validation.digits, "val_seq_accuracy": len(validation)}
    intervals = {
        f"best_{name}_interval": list(wilson(round(best[name] * total), total))
        for name, total in totals.items()
    }
    return {**with_intervals(TEST_SPLIT, counts(measure(model, split))), **intervals}


def _validated_on(config: TrainingConfig, allow_outside: bool) -> PackedSplit:
    """Return the validation split that the accuracies are from; composed images if it is composed.

    The training split is not read for that.
    """
    dataset = create_dataset(config, allow_outside=allow_outside)
    if dataset.composed:
        return dataset.validation
    return load_split(config.metadata_path, config.val_split, allow_outside=allow_outside)
