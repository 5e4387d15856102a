"""Ray's own callbacks for trackers, told of trials as this package knows them.

Their settings stand under their plain names, a step is an epoch, and a trial is one run, also where
Ray runs it several times over: because it had to wait for others in between, its process was lost,
or the run was resumed.
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
"""Key in the config of a trial of Ray's that ended in a pause, to go on as another one."""


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
        trial.config = settings_of(asked["config"])
        try:
            super().log_trial_start(trial)  # type: ignore[misc]
        finally:
            trial.config = asked

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """By its epoch."""
        first = self._first[trial.config["experiment_name"]]
        told = {**figures_of(result), "training_iteration": result.get("epoch", iteration)}
        super().log_trial_result(iteration, first, told)  # type: ignore[misc]

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """Unless it only paused."""
        name = trial.config["experiment_name"]
        if failed or not trial.config.get(PAUSED):
            self._open.discard(name)
            super().log_trial_end(self._first[name], failed)  # type: ignore[misc]

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Those that waited for a turn that never came have ended as well."""
        for name in sorted(self._open):
            super().log_trial_end(self._first[name])  # type: ignore[misc]
        super().on_experiment_end(trials, **info)  # type: ignore[misc]


def figures_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of a report that its epoch is told by, under their own names."""
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
    """Knows a trial by a name that no other run has one of.

    Args:
        run: what tells this run from any other; resumed, it is the same.
    """

    def __init__(self, *arguments: Any, run: str, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.run = run

    def whole_name(self, trial: Any) -> str:
        """The run and the trial in it."""
        return self.name_of(trial.config["experiment_name"])

    def name_of(self, trial: str) -> str:
        """The run and the trial of that name in it."""
        return f"{self.run}/{trial}"
