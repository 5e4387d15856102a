"""Adapt Ray's tracker callbacks to the trials of this package.

Settings have their plain names, a step is an epoch, and a trial is one tracked run, also if Ray
runs it several times: after a pause, after a lost process, or after a resume.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OF_RAY = (
    *("config", "pid", "hostname", "node_ip", "date", "timestamp", "done", "trial_id"),
    *("experiment_tag", "checkpoint_dir_name", "should_checkpoint", "auto_unpause"),
    *("time_this_iter_s", "time_total_s", "time_since_restore", "iterations_since_restore"),
    *("timesteps_total", "episodes_total", "training_iteration", "best_score"),
    *("num_epochs", "history", "frames"),
)
"""Keys of a report that are no figures of an epoch."""
PAUSED = "paused"
"""Key in the config of a Ray trial that ended in a pause and continues as another one."""
BY_ORDER = "by_order"
"""Key in the config of a Ray trial that an order of a user ended: it has not failed."""


class Described:
    """Reports the Ray trials of one trial to a tracker as one run."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._first: dict[str, Any] = {}  # the first Ray trial, by name
        self._open: set[str] = set()

    def log_trial_start(self, trial: Any) -> None:
        """Log the start with the training settings instead of Ray's config."""
        name = trial.config["experiment_name"]
        self._open.add(name)
        if self._first.setdefault(name, trial) is not trial:
            return
        asked = trial.config
        trial.config = settings_of(asked["config"])
        try:
            super().log_trial_start(trial)  # type: ignore[misc]
        finally:
            trial.config = asked

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """Log a report with its epoch as the step."""
        first = self._first[trial.config["experiment_name"]]
        row = {**figures_of(result), "training_iteration": result.get("epoch", iteration)}
        super().log_trial_result(iteration, first, row)  # type: ignore[misc]

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """Log the end, unless the trial only paused."""
        name, failed = trial.config["experiment_name"], failed and not trial.config.get(BY_ORDER)
        if failed or not trial.config.get(PAUSED):
            self._open.discard(name)
            super().log_trial_end(self._first[name], failed)  # type: ignore[misc]

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Log the end of paused trials that were never continued."""
        for name in sorted(self._open):
            super().log_trial_end(self._first[name])  # type: ignore[misc]
        super().on_experiment_end(trials, **info)  # type: ignore[misc]


def figures_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers that a tracker gets of a report, under their own names."""
    return {
        name: value
        for name, value in result.items()
        if name not in OF_RAY and isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a trial trains with, parameters of one's own by their own names.

    Args:
        config: fields of a `TrainingConfig`; those that a training function does not use are left
            out.
    """
    parameters = config.get("parameters") or {}
    if config.get("trainable"):
        used = ("experiment_name", "trainable", "num_epochs", "seed")
        config = {name: config[name] for name in used if name in config}
    own = {f"parameters.{n}" if n in config else n: value for n, value in parameters.items()}
    return {**{name: value for name, value in config.items() if name != "parameters"}, **own}


class OfRun:
    """Names a trial uniquely across runs.

    Args:
        run: the run's id, which a resume keeps.
    """

    def __init__(self, *arguments: Any, run: str, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.run = run

    def whole_name(self, trial: Any) -> str:
        """Return the run's id and the trial's name."""
        return self.name_of(trial.config["experiment_name"])

    def name_of(self, trial: str) -> str:
        """Return the run's id and that trial name."""
        return f"{self.run}/{trial}"
