"""Log trials to MLflow."""

from __future__ import annotations

from typing import Any

from ray.air.integrations.mlflow import MLflowLoggerCallback

from raytune_ocr.tune.tracking.ray_logger import Described, OfRun

TRIAL_TAG = "raytune_ocr.trial"


class _MLflowRuns(OfRun, MLflowLoggerCallback):
    """Finds a trial's MLflow run by a tag."""

    def log_trial_start(self, trial: Any) -> None:
        """Continue the trial's run, which has its settings already, or start one."""
        from mlflow import MlflowClient

        name = self.whole_name(trial)
        client = MlflowClient(self.tracking_uri)
        found = client.search_runs(
            [str(self.mlflow_util.experiment_id)], f"tags.`{TRIAL_TAG}` = '{name}'", max_results=1
        )
        if found:
            self._trial_runs[trial] = found[0].info.run_id
            client.update_run(found[0].info.run_id, status="RUNNING")
        else:
            self.tags = {TRIAL_TAG: name}
            super().log_trial_start(trial)


class MLflow(Described, _MLflowRuns):
    """Logs each trial as an MLflow run."""
