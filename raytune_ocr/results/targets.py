"""Targets of a run: goals for figures, and whether a trial meets them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raytune_ocr.config.metrics import mode_of, reaches
from raytune_ocr.tasks.registry import target_keys, target_metrics


@dataclass(frozen=True)
class Target:
    """A goal for the best epoch of any trial."""

    name: str
    value: float

    def reached(self, best: Mapping[str, Any]) -> bool:
        """Whether a trial's best epoch is as good."""
        metric = target_metrics()[self.name]
        found = best.get(metric, math.nan)
        return bool(reaches(found, self.value, mode_of(metric)))

    def __str__(self) -> str:
        return f"{self.name}={self.value:g}"


def compare_with_targets(
    result: Mapping[str, Any], targets: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """For each target its goal, the value reached, and whether it is met."""
    compared = {}
    keys = target_keys() if targets else {}
    for name, goal in targets.items():
        value = result.get(keys[name])
        met = value is not None and reaches(value, goal, mode_of(name))
        compared[name] = {"goal": goal, "value": value, "met": met}
    return compared
