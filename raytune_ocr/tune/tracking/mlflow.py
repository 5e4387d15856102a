"""Log trials to MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.air.integrations.mlflow import MLflowLoggerCallback

from raytune_ocr.tune.cluster.ray_patches import mlflow_runs
from raytune_ocr.tune.tracking.ray_logger import Described, OfRun

TRIAL_TAG = "raytune_ocr.trial"


class _MLflowRuns(OfRun, MLflowLoggerCallback):
    """Finds a trial's MLflow run by a tag.

    Args:
        artifacts: where files of a new experiment go; None: where MLflow puts them.
    """

    def __init__(self, *arguments: Any, artifacts: Path | None = None, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._artifacts = artifacts

    def setup(self, *arguments: Any, **keywords: Any) -> None:
        """Make the experiment, unless it is there."""
        if self._artifacts and self._client.get_experiment_by_name(self.experiment_name) is None:
            self._client.create_experiment(self.experiment_name, self._artifacts.as_uri())
        super().setup(*arguments, **keywords)

    @property
    def _client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.tracking_uri)

    def _run_of(self, name: str) -> str | None:
        """The id of the run that has a trial's whole name."""
        experiment, tag = str(self.mlflow_util.experiment_id), f"tags.`{TRIAL_TAG}` = '{name}'"
        found = self._client.search_runs([experiment], tag, max_results=1)
        return found[0].info.run_id if found else None

    def log_trial_start(self, trial: Any) -> None:
        """Continue the run that the trial has, with its settings as they were, or begin one."""
        name = self.whole_name(trial)
        if found := self._run_of(name):
            mlflow_runs(self)[trial] = found
            self._client.update_run(found, status="RUNNING")
        else:
            self.tags = {TRIAL_TAG: name}
            super().log_trial_start(trial)

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """Log the figures by their epoch, which is the step and no figure."""
        step = result["training_iteration"]
        figures = {n: v for n, v in result.items() if n not in ("training_iteration", "epoch")}
        run = mlflow_runs(self)[trial]
        self.mlflow_util.log_metrics(run_id=run, metrics_to_log=figures, step=step)

    def log_files(self, trial: str, files: Mapping[str, Path]) -> None:
        """Add files to a trial's run as artifacts, each below the name of its kind."""
        if run := self._run_of(self.name_of(trial)):
            for kind, path in files.items():
                self._client.log_artifact(run, str(path), kind)


class MLflow(Described, _MLflowRuns):
    """Logs each trial as an MLflow run."""
