"""The record of one trial during a run: settings, epochs, status and stop reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

from raytune_ocr.config.changes import PARAMETER
from raytune_ocr.config.resources import NO_RESOURCES, Resources
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import unknown_name
from raytune_ocr.tasks.base import REPORTED, Metric, Task
from raytune_ocr.tasks.registry import task_of
from raytune_ocr.training.checkpoints.run_folder import RunFolder

FIRST_COLUMNS = ("experiment_name", "epoch")
RUN_COLUMNS = (
    "learning_rate",
    "batch_size",
    "threads",
    "seconds",
    "images_per_second",
    "memory_mb",
    "cpu_percent",
    "gpu_memory_mb",
    "model_parameters",
    "cpus",
    "gpus",
    "cpu_kwh",
    "gpu_kwh",
    "ended_at",
)
"""Columns of an epoch that are the same for all tasks: settings, time and memory."""
EPOCHS_TABLE, TRIALS_TABLE = "epochs.csv", "trials.csv"
CONFIRMING_EPOCHS_TABLE = "confirmation_epochs.csv"
CONFIRMING_TRIALS_TABLE = "confirmation_trials.csv"
CONFIRMING_TABLES = (CONFIRMING_TRIALS_TABLE, CONFIRMING_EPOCHS_TABLE)
FINISHED = ("completed", "failed")
BEST_MODELS_KEPT = 10  # trials that keep their models at the end of a run
USED = ("batch_size_used", "accumulation_used", "threads")


@dataclass(kw_only=True)
class TrialOutcome:
    """What a trial was and what it has reached: in memory and in the journal.

    Attributes:
        status: pending, running, paused, completed or failed.
        stop_reason: max_epochs, early_stopping, scheduler, user, returned, trial_timeout,
            time_budget, max_cost, target, nan, error, or "".
        epochs: a row of metrics for each epoch, in order, without gaps or duplicates.
        used: `threads`, and `batch_size_used` and `accumulation_used` if memory ran out.
        search: the experiment of a searched trial, or "".
        sampled: the values that were drawn for it, by field.
        confirms: the trial of the search that this one trains again with another seed, or "".
        made_with: versions and the device of its latest epochs.
    """

    status: str = "pending"
    stop_reason: str = ""
    error_message: str = ""
    epochs: list[dict[str, Any]] = field(default_factory=list)
    used: dict[str, int] = field(default_factory=dict)
    search: str = ""
    sampled: Mapping[str, Any] = field(default_factory=dict)
    confirms: str = ""
    made_with: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_finished(self) -> bool:
        """Whether it completed, failed or was stopped."""
        return self.status in FINISHED


@dataclass
class TrialRecord(TrialOutcome):
    """One trial of a run.

    Attributes:
        resources: what it reserves.
        unsaved: rows that are not in the journal yet.
        parent: the trial that shares its first `parent_epoch` epochs with this clone, or "".
    """

    config: TrainingConfig
    _: KW_ONLY
    resources: Resources = NO_RESOURCES
    unsaved: list[dict[str, Any]] = field(default_factory=list)
    parent: str = ""
    parent_epoch: int = 0
    _curve: dict[int, float] = field(default_factory=dict, repr=False, compare=False)
    _curve_until: dict[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Name of the trial."""
        return self.config.experiment_name

    @property
    def task(self) -> Task:
        """The task that it trains."""
        return task_of(self.config)

    @property
    def config_used(self) -> TrainingConfig:
        """The config, with the smaller batch that is used since memory ran out."""
        config, used = self.config, self.used
        return dataclasses.replace(
            config,
            batch_size=used.get("batch_size_used", config.batch_size),
            gradient_accumulation_steps=used.get(
                "accumulation_used", config.gradient_accumulation_steps
            ),
        )

    def add(self, result: Mapping[str, Any], known: Mapping[str, Any] | None = None) -> None:
        """Add a report; an epoch that was trained again replaces its earlier row.

        Args:
            known: the earlier row of an epoch that is only reported again, as a resumed trial does
                with what it restores: its time, memory and energy stay.
        """
        if "epoch" not in result:
            return
        metrics = self.task.columns or result.get(REPORTED, ())
        names = (*FIRST_COLUMNS, *metrics, *RUN_COLUMNS)
        row = {name: result[name] for name in names if name in result}
        row |= {name: known[name] for name in RUN_COLUMNS if name in known} if known else {}
        row["experiment_name"] = self.name
        self.epochs = [old for old in self.epochs if old["epoch"] < row["epoch"]]
        if self._curve_until is not None and self.epochs and self._curve_until is self.epochs[-1]:
            self._curve |= [self._point(row)]
            self._curve_until = row
        self.epochs.append(row)
        self.unsaved.append(row)
        self.used |= {name: result[name] for name in USED if name in result}
        self.made_with = result.get("made_with", self.made_with)

    @property
    def columns(self) -> list[str]:
        """Metrics of its epochs: those of its task, or those that were reported."""
        rows = dict.fromkeys(name for row in self.epochs for name in row)
        others = (*FIRST_COLUMNS, *RUN_COLUMNS)
        return list(self.task.columns) or [name for name in rows if name not in others]

    # What schedulers see

    @property
    def max_epochs(self) -> int:
        """The length of a full training."""
        return self.config.num_epochs

    @property
    def curve(self) -> dict[int, float]:
        """The score by epoch: the monitored metric, negated for a loss: higher is better."""
        newest = self.epochs[-1] if self.epochs else None
        if self._curve_until is not newest:
            self._curve, self._curve_until = dict(map(self._point, self.epochs)), newest
        return self._curve

    def _point(self, row: Mapping[str, Any]) -> tuple[int, float]:
        return row["epoch"], self.task.monitor(self.config).score(row)

    @property
    def failed(self) -> bool:
        """Whether it ended by an error."""
        return self.status == "failed"

    @property
    def size(self) -> float:
        """The relative cost of an epoch: operations of its preset for one image."""
        from raytune_ocr.models.describe import work  # torch, which readers of results do not need

        return work(self.config.model_name)

    def settings_after(self, epoch: int) -> dict[str, Any]:
        """Return its settings after `epoch` epochs, by field."""
        config = self.config.after(epoch)
        return {**vars(config), **{PARAMETER + n: v for n, v in config.parameters.items()}}

    def complete(self, stop_reason: str) -> None:
        """Mark it as completed, or as failed if it never reported its metric."""
        self.status, self.stop_reason = "completed", stop_reason
        name, known = self.task.monitor(self.config).name, self.columns
        if self.epochs and name not in known and not self.task.columns:
            self.fail(f"no epoch reported its metric: {unknown_name('metric', name, known)}")

    def fail(self, error_message: str, stop_reason: str = "error") -> None:
        """Mark it as failed."""
        self.status, self.stop_reason = "failed", stop_reason
        self.error_message = error_message

    def retry(self) -> None:
        """Mark it as pending again; it continues from its last state, if there is one."""
        self.status, self.stop_reason, self.error_message = "pending", "", ""

    def stop(self, reason: str = "scheduler") -> None:
        """Stop it by a decision of the scheduler, or by an order of the user."""
        self.complete(reason)

    def pause(self) -> None:
        """Pause it at a milestone or by an order, with its state saved."""
        self.status = "paused"

    @property
    def is_over(self) -> bool:
        """Whether it ended for good: a resume continues trials that the run's end cut short."""
        return self.status in FINISHED and self.stop_reason not in CUT

    @property
    def best(self) -> dict[str, Any]:
        """The row of the best epoch, from which `best_model.pt` is."""
        return dict(self.config.best_of(self.epochs))

    @property
    def metric(self) -> Metric:
        """The first metric by which its task ranks trials."""
        return self.task.ranked_by(self.config)[0]

    @property
    def checkpoint(self) -> Path | None:
        """The path of its best model, or None."""
        path = RunFolder(self.config.output_dir, self.name).best_model.absolute()
        return path if path.exists() else None


TIME_BUDGET = "time_budget"


MAX_COST = "max_cost"


TARGET = "target"


LIMITS = (TIME_BUDGET, MAX_COST)
"""Stop reasons that end the whole run, confirming trials included."""


CUT = (*LIMITS, TARGET)
"""Stop reasons of trials that the end of the run cut short."""
