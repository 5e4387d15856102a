"""The interface of searchers, which choose the parameters of the next trial.

A searcher suggests one point of one searched experiment at a time. It does not know Ray, files or
the remaining epochs: the same trials with the same scores give the same suggestions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from raytune_ocr.tune.schedulers.base import Trial
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.experiment import Experiment, Point


class Searcher:
    """Suggests points of one experiment.

    Args:
        experiment: the searched experiment.
        seed: of all random draws.
        known: points of earlier runs, which are not trained again.
    """

    name: ClassVar[str]
    """Its name in the registry and in the YAML file."""
    adaptive: ClassVar[bool] = True
    """Whether suggestions depend on scores of earlier trials; if not, all are made at the start."""

    def __init__(self, experiment: Experiment, seed: int, known: KnownPoints) -> None:
        self.experiment = experiment
        self.seed = seed
        self.known = known

    def suggest(self, number: int, trials: Sequence[Trial]) -> Point | None:
        """Choose the parameters of the next trial.

        Args:
            number: of the trial, from 1.
            trials: the trials of this experiment so far, in order.

        Returns:
            None if no new point is left.

        Raises:
            ConfigurationError: no valid point can be drawn.
        """
        raise NotImplementedError

    @property
    def independent(self) -> int:
        """Return how many of the first suggestions depend on no trial; 0 if it is not adaptive."""
        return 0

    def observe(self, trial: Trial) -> None:
        """Note that a trial has reported an epoch or has ended."""
