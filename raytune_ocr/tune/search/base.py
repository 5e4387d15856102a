"""The searcher seam: which parameters the next trial has.

A searcher is asked for one point of one searched experiment at a time. It knows nothing of Ray,
files or the epochs that are left: the same trials with the same scores give the same suggestions.
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
        experiment: what is searched.
        seed: of all that is random.
        known: points of earlier runs, which are not trained again.
    """

    name: ClassVar[str]
    """Its name in the registry and in the YAML file."""
    adaptive: ClassVar[bool] = True
    """Whether suggestions depend on what earlier trials reached; if not, all are known at once."""

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
            None where there is no new point left.

        Raises:
            ConfigurationError: no valid point can be drawn.
        """
        raise NotImplementedError

    @property
    def independent(self) -> int:
        """How many of the first suggestions depend on no trial; 0 where it is not adaptive."""
        return 0

    def observe(self, trial: Trial) -> None:
        """Take in that a trial has reported an epoch or has ended."""
