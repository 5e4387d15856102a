"""Write the log of epochs and the plot of learning curves."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.files import naming_disk_full, replacing
from raytune_ocr.plots import draw_learning_curves, save_figure
from raytune_ocr.training.callbacks.base import Callback, TrainingLoop


class EpochLog(Callback):
    """Writes one line an epoch to a log file, and with `every_n_steps` one every n steps.

    At a resume the file is written again from the history: it holds each finished epoch once,
    without those that are trained again and with those that a crash lost.
    """

    watches_steps = True

    def __init__(
        self, path: str | os.PathLike[str], total_epochs: int, every_n_steps: int = 0
    ) -> None:
        self.path = Path(path)
        self.total_epochs = total_epochs
        self.every_n_steps = every_n_steps

    def on_train_begin(self, trainer: TrainingLoop) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if trainer.epoch and trainer.history:
            done: list[dict[str, float]] = [{} for _ in range(trainer.epoch)]
            for name, values in trainer.history.items():
                for figures, value in zip(done, values, strict=False):
                    if not math.isnan(value):
                        figures[name] = value
            lines = [self._line(epoch, figures) for epoch, figures in enumerate(done, 1) if figures]
            with replacing(self.path) as aside:
                aside.write_text("".join(lines), encoding="utf-8")

    def on_step_end(self, trainer: TrainingLoop, step: int, figures: Mapping[str, float]) -> None:
        if self.every_n_steps and (step + 1) % self.every_n_steps == 0:
            self._write(f"  epoch {trainer.epoch + 1} step {step + 1} {_figures(figures)}\n")

    def on_epoch_end(self, trainer: TrainingLoop, epoch: int, metrics: dict[str, float]) -> None:
        self._write(self._line(epoch + 1, metrics))

    def _line(self, epoch: int, metrics: Mapping[str, float]) -> str:
        return f"epoch {epoch}/{max(epoch, self.total_epochs)} {_figures(metrics)}\n"

    def _write(self, line: str) -> None:
        with naming_disk_full(self.path), self.path.open("a", encoding="utf-8") as log:
            log.write(line)


def _figures(figures: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:.6g}" for name, value in figures.items())


def read_epoch_log(path: str | os.PathLike[str]) -> dict[str, list[float]]:
    """Read the log of `EpochLog`: lists of every metric, one value an epoch from the first one.

    Missing values are NaN; an incomplete line is left out.

    Raises:
        ConfigurationError: when there is no such file.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such log") from None
    epochs: dict[int, dict[str, float]] = {}
    for line in lines:
        found = re.match(r"epoch (\d+)/\d+ (.*)", line)
        if found is None:
            continue
        try:
            pairs = [pair.split("=") for pair in found[2].split()]
            epochs[int(found[1])] = {name: float(value) for name, value in pairs}
        except ValueError:
            continue
    names = dict.fromkeys(name for figures in epochs.values() for name in figures)
    rows = [epochs.get(epoch, {}) for epoch in range(1, max(epochs, default=0) + 1)]
    return {name: [row.get(name, math.nan) for row in rows] for name in names}


class CurvesPicture(Callback):
    """Draws loss and accuracy over the epochs into a PNG, again after every epoch."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_epoch_end(self, trainer: TrainingLoop, epoch: int, metrics: dict[str, float]) -> None:
        save_figure(
            self.path, lambda figure: draw_learning_curves(figure, trainer.history), size=(9, 4)
        )
