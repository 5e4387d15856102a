"""Targets of a run: goals for figures, and whether a trial meets them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass
from typing import TYPE_CHECKING

from raytune_ocr.config.metrics import mode_of, reaches

TARGET_METRICS = {
    "character_accuracy": "val_char_accuracy",
    "sequence_accuracy": "val_seq_accuracy",
    "accuracy": "val_accuracy",
    **{
        name: name
        for name in (
            "val_char_accuracy",
            "val_seq_accuracy",
            "val_accuracy",
            "val_cer",
            "val_loss",
        )
    },
}
"""What `--target` may name, and the column of an epoch that it is compared with."""


@dataclass(frozen=True)
class Target:
    """A goal for the best epoch of any trial."""

    name: str
    value: float

    def reached(self, best: Mapping[str, Any]) -> bool:
        """Whether a trial's best epoch is as good."""
        metric = TARGET_METRICS[self.name]
        found = best.get(metric, math.nan)
        return bool(reaches(found, self.value, mode_of(metric)))

    def __str__(self) -> str:
        return f"{self.name}={self.value:g}"


TARGETS = {
    "character_accuracy": "best_val_char_accuracy",
    "sequence_accuracy": "best_val_seq_accuracy",
    "accuracy": "best_val_accuracy",
    "training_time_per_epoch": "train_time_per_epoch",
    "convergence_epochs": "best_epoch",
}
"""Targets, and the figure of a result that each is compared with."""


def compare_with_targets(
    result: Mapping[str, Any], targets: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """For each target its goal, the value reached, and whether it is met."""
    compared = {}
    for name, goal in targets.items():
        value = result.get(TARGETS[name])
        met = value is not None and reaches(value, goal, mode_of(name))
        compared[name] = {"goal": goal, "value": value, "met": met}
    return compared
