"""Log trials to Weights & Biases."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.air.integrations.wandb import WandbLoggerCallback

from raytune_ocr.tune.cluster.ray_patches import complete_wandb_files
from raytune_ocr.tune.tracking.ray_logger import Described, OfRun


class _WandbRuns(OfRun, WandbLoggerCallback):
    """Gives a trial's W&B run the same id each time."""

    def log_trial_start(self, trial: Any) -> None:
        """Continue the run of that id, or start it."""
        self.kwargs["id"] = id_of(self.whole_name(trial))
        self.kwargs["resume"] = "allow"
        super().log_trial_start(trial)

    def log_files(self, trial: str, files: Mapping[str, Path]) -> None:
        """Add files to a trial's run as artifacts, each of its kind."""
        import wandb

        settings = {**self.kwargs, "id": id_of(self.name_of(trial)), "resume": "allow"}
        with wandb.init(project=self.project, name=trial, **settings) as run:
            for kind, path in files.items():
                artifact = wandb.Artifact(f"{trial}-{kind}", type=kind)
                artifact.add_file(str(path))
                run.log_artifact(artifact)


def id_of(whole_name: str) -> str:
    """The id of the run that a trial's whole name has."""
    return hashlib.sha256(whole_name.encode()).hexdigest()[:16]


@complete_wandb_files
class WeightsAndBiases(Described, _WandbRuns):
    """Logs each trial as a W&B run."""
