"""Callbacks of a training function: early stopping, the best state, and the report of an epoch."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raytune_ocr.config.metrics import score_of
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.tasks.base import REPORTED, WITHOUT_STATE, Report
from raytune_ocr.tasks.context import FunctionContext
from raytune_ocr.tasks.values import RESERVED
from raytune_ocr.training.callbacks.base import Callback
from raytune_ocr.training.callbacks.early_stopping import EarlyStoppingCallback
from raytune_ocr.training.checkpoints.run_folder import STATE_NAME, RunFolder

BEST_FILES = "best_files"
"""The folder that was saved in the best epoch, beside its state."""


class FunctionEarlyStopping(EarlyStoppingCallback):
    """Early stopping by a metric that may be missing: an epoch without it is no improvement."""

    @classmethod
    def of(cls, config: TrainingConfig) -> FunctionEarlyStopping:
        """As `config` says."""
        return cls(
            config.early_stopping_monitor,
            config.early_stopping_patience,
            config.early_stopping_min_delta,
            config.early_stopping_mode,
        )

    def on_epoch_end(self, trainer: Any, epoch: int, metrics: dict[str, float]) -> None:
        super().on_epoch_end(trainer, epoch, {self.monitor: math.nan, **metrics})


class BestState(Callback):
    """Writes `best_model.pt`: the state of the best epoch that has a saved state."""

    def __init__(self, config: TrainingConfig, folder: RunFolder) -> None:
        self.config = config
        self.folder = folder
        self.row: dict[str, float] = {}

    def on_epoch_end(self, trainer: Any, epoch: int, metrics: dict[str, float]) -> None:
        from raytune_ocr.training.checkpoints.state_files import write_state

        row = trainer.rows[-1]
        if trainer.saved.get("epoch") != trainer.epoch or not self._is_best(row):
            return
        self.row = dict(row)
        content = {
            "epoch": trainer.epoch,
            "state": trainer.saved["state"],
            "config": self.config.to_dict(),
            "metrics": dict(metrics),
        }
        self.folder.checkpoints.mkdir(parents=True, exist_ok=True)
        if trainer.saved.get("files"):
            replace_folder(trainer.files, self.folder.checkpoints / BEST_FILES)
        write_state(self.folder.best_model, content)

    def _is_best(self, row: Mapping[str, float]) -> bool:
        return self.config.best_of([*filter(None, [self.row]), row]) is row

    def state_dict(self) -> dict[str, Any]:
        return {"row": self.row}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.row = dict(state["row"])


class EpochReport(Callback):
    """Reports each epoch, with a folder that holds what was saved in it."""

    def __init__(self, config: TrainingConfig, report: Report) -> None:
        self.config = config
        self.report = report

    def on_epoch_end(self, trainer: Any, epoch: int, metrics: dict[str, float]) -> None:
        row = self.row_of(trainer)
        if trainer.saved.get("epoch") != trainer.epoch:
            self.report(row, None)
            return
        with tempfile.TemporaryDirectory() as folder:
            write_context(trainer, Path(folder))
            self.report(row, folder)

    def report_last(self, context: FunctionContext) -> None:
        """The report before an interruption may have been lost."""
        *history, last = (self._with_names(row) for row in context.rows)
        self.report({**self.row_of(context), **last, "history": history}, None)

    def row_of(self, context: FunctionContext) -> dict[str, Any]:
        """The report of the latest epoch."""
        best, config = self.config.best_of(context.rows), self.config
        score = best.get(config.early_stopping_monitor, math.nan)
        last = context.epoch >= context.epochs
        return {
            **self._with_names(context.rows[-1]),
            "best_epoch": best.get("epoch", 0),
            "best_score": score_of(score, config.early_stopping_mode),
            "stop_reason": context.stop_reason or ("max_epochs" if last else ""),
            **({} if context.saved else {WITHOUT_STATE: True}),
        }

    def _with_names(self, row: Mapping[str, float]) -> dict[str, Any]:
        return {**row, REPORTED: [name for name in row if name not in RESERVED]}


def write_context(context: FunctionContext, folder: Path) -> None:
    """Write what a resume needs into an empty folder."""
    from raytune_ocr.training.checkpoints.state_files import write_state

    write_state(folder / STATE_NAME, context.state_dict(), aside=False)
    if context.saved.get("files"):
        shutil.copytree(context.files, folder / context.files.name)


def read_context(context: FunctionContext, path: Path) -> None:
    """Take up what `write_context` wrote: a folder, or the state in it."""
    from raytune_ocr.training.checkpoints.state_files import read_state

    path = path / STATE_NAME if path.is_dir() else path
    context.load_state_dict(read_state(path))
    if context.saved.get("files"):
        replace_folder(path.parent / context.files.name, context.files)


def replace_folder(source: Path, target: Path) -> None:
    """Copy a folder to where another one may be."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
