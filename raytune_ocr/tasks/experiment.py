"""A task of one's own in an experiment folder, without Ray: `train --trainable module:function`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError, ExperimentFailedError, unknown_name
from raytune_ocr.plugins import import_modules
from raytune_ocr.tasks.registry import task_of
from raytune_ocr.training.checkpoints.run_folder import STATE_NAME
from raytune_ocr.training.experiments.folder import ExperimentManager


class TaskExperiment:
    """Trains a task in an experiment folder, which keeps its newest state.

    Args:
        config: of the task.
        open_folder: called once the task is known to be there.

    Raises:
        ConfigurationError, DataLoaderError: the task or its data cannot be used.
    """

    def __init__(self, config: TrainingConfig, open_folder: Callable[[], ExperimentManager]):
        import_modules(config.imports)
        self.task = task_of(config)
        self.task.check(config)
        self.data = self.task.prepared(config, self.task.load(config, False))
        self.experiment_manager = manager = open_folder()
        folder = Path(manager.experiment_dir)
        self.config = replace(config, experiment_name=folder.name, output_dir=str(folder.parent))
        self.rows: list[dict[str, Any]] = []  # of every epoch, those before a resume included
        self._reports: list[dict[str, Any]] = []

    @property
    def state(self) -> Path:
        """The folder of the newest state."""
        return Path(self.experiment_manager.checkpoints_dir) / "latest"

    def open(self) -> None:
        """Raises ConfigurationError for a fork, since only a whole state can be continued."""
        if self.experiment_manager.parent is not None:
            raise ConfigurationError(
                "--fork: needs a registered model; use --resume, or start anew"
            )

    def train(self, epochs: int) -> dict[str, Any]:
        """Train until `epochs` epochs are done in all.

        Returns:
            `best` (in words), `best_epoch`, `epochs_trained`, `training_time`, `experiment_dir`.
        """
        started, resumed = time.perf_counter(), self.experiment_manager.resumed
        state = self.state / STATE_NAME if resumed and self.state.exists() else None
        self.task.train(replace(self.config, num_epochs=epochs), self.data, self._report, state)
        name, mode = self.task.monitor(self.config)
        best = self.config.best_of(self.rows)
        if not best:
            known = dict.fromkeys(n for row in self.rows for n in row.get("reported", ()))
            raise ExperimentFailedError(
                f"no epoch reported the monitored metric: {unknown_name('metric', name, known)}"
            )
        return {
            "best": f"best {name} {best[name]:.6g} ({mode})",
            "best_epoch": best["epoch"],
            "epochs_trained": sum("history" not in row for row in self._reports),
            "training_time": time.perf_counter() - started,
            "experiment_dir": self.experiment_manager.experiment_dir,
        }

    def _report(self, row: dict[str, Any], state: str | None) -> None:
        if "epoch" not in row:
            return
        self._reports.append(row)
        self.rows += [*row.get("history", []), row]
        figures = "  ".join(f"{name} {row[name]:.4f}" for name in row.get("reported", ()))
        print(f"epoch {row['epoch']}/{self.config.num_epochs}  {figures}", flush=True)
        if state is not None:
            shutil.rmtree(self.state, ignore_errors=True)
            shutil.copytree(state, self.state)
