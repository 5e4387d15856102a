"""The target of a run: a goal for a figure, at which the run ends."""

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
        """Whether a trial's best epoch is as good.

        Args:
            monitor: the metric that the trial follows, which tells its direction.
        """
        metric = target_metrics().get(self.name, self.name)
        mode = monitor.mode if monitor and monitor.name == metric else None
        found = best.get(metric, math.nan)
        return bool(reaches(found, self.value, mode_of(metric, mode)))

    def __str__(self) -> str:
        return f"{self.name}={self.value:g}"
