"""The target of a run: the value of a metric at which the run ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raytune_ocr.config.metrics import mode_of, reaches
from raytune_ocr.tasks.registry import target_metrics


@dataclass(frozen=True)
class Target:
    """A goal for the best epoch of any trial."""

    name: str
    value: float

    def reached(self, best: Mapping[str, Any]) -> bool:
        """Whether a trial's best epoch reaches the target."""
        metric = target_metrics()[self.name]
        found = best.get(metric, math.nan)
        return bool(reaches(found, self.value, mode_of(metric)))

    def __str__(self) -> str:
        return f"{self.name}={self.value:g}"
