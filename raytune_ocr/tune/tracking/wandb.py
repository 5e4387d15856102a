"""Log trials to Weights & Biases."""

from __future__ import annotations

import hashlib
from typing import Any

from ray.air.integrations.wandb import WandbLoggerCallback, _WandbLoggingActor

from raytune_ocr.tune.tracking.ray_logger import Described, OfRun


class _WandbRuns(OfRun, WandbLoggerCallback):
    """Gives a trial's W&B run the same id each time."""

    def log_trial_start(self, trial: Any) -> None:
        """Continue the run of that id, or start it."""
        name = self.whole_name(trial).encode()
        self.kwargs["id"] = hashlib.sha256(name).hexdigest()[:16]
        self.kwargs["resume"] = "allow"
        super().log_trial_start(trial)


class Writing(_WandbLoggingActor):
    """Writes one trial's run, in a process that Ray ends when it reports that it is done."""

    def run(self) -> None:
        """Write until the trial is over and the file is complete."""
        super().run()
        self._wandb.teardown()  # waits for the process that writes the file, which would end too


class WeightsAndBiases(Described, _WandbRuns):
    """Logs each trial as a W&B run."""

    _logger_actor_cls = Writing
