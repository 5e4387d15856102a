"""Ray's own callbacks for trackers, told the settings of a trial under their plain names."""

from __future__ import annotations

from typing import Any

from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.air.integrations.wandb import WandbLoggerCallback


class Described:
    """Starts a trial with the settings it trains with, not with how it was asked for."""

    def log_trial_start(self, trial: Any) -> None:
        """Hand on the start of a trial."""
        asked = trial.config
        trial.config = dict(asked["config"])
        try:
            super().log_trial_start(trial)  # type: ignore[misc]
        finally:
            trial.config = asked


class MLflow(Described, MLflowLoggerCallback):
    """A run of MLflow for each trial."""


class WeightsAndBiases(Described, WandbLoggerCallback):
    """A run of Weights & Biases for each trial."""
