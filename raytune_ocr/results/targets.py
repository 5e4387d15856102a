"""The target of a run: the value of a metric at which the run ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raytune_ocr.config.metrics import mode_of, reaches
from raytune_ocr.tasks.base import Metric
from raytune_ocr.tasks.registry import target_metrics


@dataclass(frozen=True)
class Target:
    """A goal for the best epoch of any trial."""

    name: str
    value: float

    def reached(self, best: Mapping[str, Any], monitor: Metric | None = None) -> bool:
        """Whether a trial's best epoch reaches the target.

        Args:
            monitor: the trial's monitored metric, which has the direction of an unknown name.
        """
        metric = target_metrics().get(self.name, self.name)
        mode = monitor.mode if monitor and monitor.name == metric else None
        found = best.get(metric, math.nan)
        return bool(reaches(found, self.value, mode_of(metric, mode)))

    def __str__(self) -> str:
        return f"{self.name}={self.value:g}"
