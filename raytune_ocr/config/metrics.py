"""Names of metrics, and which of them are better when lower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KHMER_DIGITS = "khmer_digits"


CLASSIFIER_MONITOR = "val_accuracy"  # for every other dataset


MONITORS = (
    "val_char_accuracy",
    "val_seq_accuracy",
    "val_cer",
    "val_loss",
    "train_char_accuracy",
    "train_loss",
)
"""What early stopping, the best checkpoint and the plateau schedule may follow."""


CLASSIFIER_MONITORS = (CLASSIFIER_MONITOR, "val_loss", "train_accuracy", "train_loss")
"""The same for datasets other than the digits."""


def mode_of(metric: str) -> str:
    """The direction in which a metric improves: "min" if its name speaks of a loss or an error."""
    lower_is_better = any(word in metric for word in ("loss", "cer", "error", "perplexity"))
    return "min" if lower_is_better else "max"


def monitors_of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """What may be followed on the dataset that `values` name."""
    digits = values.get("dataset_name", KHMER_DIGITS) == KHMER_DIGITS
    return MONITORS if digits else CLASSIFIER_MONITORS
