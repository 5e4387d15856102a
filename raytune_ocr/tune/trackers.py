"""Ray's own callbacks for trackers, told of trials as this package knows them.

Their settings stand under their plain names, a step is an epoch, and a trial is one run, also where
Ray runs it several times over: because it had to wait for others in between, its process was lost,
or the run was resumed.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.air.integrations.wandb import WandbLoggerCallback, _WandbLoggingActor

from raytune_ocr.tune.schedulers import is_turn_over

TRIAL_TAG = "raytune_ocr.trial"


class Described:
    """Hands on what happens to a trial as if it was all one trial of Ray's."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._first: dict[str, Any] = {}  # of Ray's trials, by name
        self._open: set[str] = set()

    def log_trial_start(self, trial: Any) -> None:
        """With the settings that it trains with, not with how it was asked for."""
        name = trial.config["experiment_name"]
        self._open.add(name)
        if self._first.setdefault(name, trial) is not trial:
            return
        asked = trial.config
        trial.config = dict(asked["config"])
        try:
            super().log_trial_start(trial)  # type: ignore[misc]
        finally:
            trial.config = asked

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """By its epoch."""
        first = self._first[trial.config["experiment_name"]]
        told = {**result, "training_iteration": result.get("epoch", iteration)}
        super().log_trial_result(iteration, first, told)  # type: ignore[misc]

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """Unless only its turn has ended."""
        name = trial.config["experiment_name"]
        if failed or not is_turn_over(trial, trial.last_result or {}):
            self._open.discard(name)
            super().log_trial_end(self._first[name], failed)  # type: ignore[misc]

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Those that waited for a turn that never came have ended as well."""
        for name in sorted(self._open):
            super().log_trial_end(self._first[name])  # type: ignore[misc]
        super().on_experiment_end(trials, **info)  # type: ignore[misc]


class OfRun:
    """Knows a trial by a name that no other run has one of.

    Args:
        run: what tells this run from any other; resumed, it is the same.
    """

    def __init__(self, *arguments: Any, run: str, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.run = run

    def whole_name(self, trial: Any) -> str:
        """The run and the trial in it."""
        return f"{self.run}/{trial.config['experiment_name']}"


class _MLflowRuns(OfRun, MLflowLoggerCallback):
    """Finds the run that a trial has by a tag."""

    def log_trial_start(self, trial: Any) -> None:
        """Go on with the run that the trial has, whose settings are told, or begin one."""
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


class _WandbRuns(OfRun, WandbLoggerCallback):
    """Gives a trial's run the same id each time."""

    def log_trial_start(self, trial: Any) -> None:
        """Go on with the run of that id, or begin it."""
        name = self.whole_name(trial).encode()
        self.kwargs["id"] = hashlib.sha256(name).hexdigest()[:16]
        self.kwargs["resume"] = "allow"
        super().log_trial_start(trial)


class MLflow(Described, _MLflowRuns):
    """A run of MLflow for each trial."""


class Writing(_WandbLoggingActor):
    """Writes one trial's run, in a process that Ray ends as soon as it says that it is done."""

    def run(self) -> None:
        """Until the trial is over and all of it is in the file."""
        super().run()
        self._wandb.teardown()  # waits for the process that writes the file, which would end too


class WeightsAndBiases(Described, _WandbRuns):
    """A run of Weights & Biases for each trial."""

    _logger_actor_cls = Writing
