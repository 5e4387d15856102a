"""Random search: a point depends only on the seed and the trial's number.

The best settings of earlier runs come first, where there are any.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import ClassVar

from raytune_ocr.tune.schedulers.base import Trial
from raytune_ocr.tune.search.base import Searcher
from raytune_ocr.tune.search.earlier import best_values
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.experiment import Experiment, Point


class RandomSearch(Searcher):
    """Draws points at random, each combination of grid values in turn; a preset gives one."""

    name: ClassVar[str] = "random"
    adaptive: ClassVar[bool] = False

    def __init__(self, experiment: Experiment, seed: int, known: KnownPoints) -> None:
        super().__init__(experiment, seed, known)
        first = best_values(known, experiment) if experiment.is_search else []
        self._points = experiment.points(seed, known.skip, first)
        self._drawn: list[Point] = []

    def suggest(self, number: int, trials: Sequence[Trial]) -> Point | None:
        """Draw the point of that number; repeated calls return the same point."""
        self._drawn += itertools.islice(self._points, max(0, number - len(self._drawn)))
        return self._drawn[number - 1] if number <= len(self._drawn) else None
