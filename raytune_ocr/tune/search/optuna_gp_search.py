"""Search by Optuna's Gaussian process."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from raytune_ocr.tune.schedulers.base import Trial
from raytune_ocr.tune.search.optuna_search import OptunaSearch


class OptunaGPSearch(OptunaSearch):
    """Suggests by a Gaussian process over the settings.

    Optuna's process ignores pruned trials, so a stopped trial counts as a completed one with its
    best score. Settings with conditions are drawn at random.
    """

    name: ClassVar[str] = "optuna-gp"

    def _sampler(self, number: int) -> Any:
        import optuna

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.GPSampler(
                seed=self._sampler_seed(number),
                n_startup_trials=self._random_first,
                warn_independent_sampling=False,
            )

    def _is_whole(self, trial: Trial) -> bool:
        return True
