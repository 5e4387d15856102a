"""The progress bar, and a clean end after Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping
from typing import Any

from raytune_ocr.training.callbacks.base import Callback, TrainingLoop


class ProgressBar(Callback):
    """On a terminal, a bar for each epoch with batches a second (it/s); everywhere, a line."""

    watches_steps = True

    def __init__(self, batches: int, total_epochs: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self.batches = batches
        self.total_epochs = total_epochs
        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def on_train_begin(self, trainer: TrainingLoop) -> None:
        self.bar.start()
        self._next(trainer.epoch)

    def _next(self, epoch: int) -> None:
        self._task = self.bar.add_task(
            f"epoch {epoch + 1}/{self.total_epochs}", total=self.batches, rate=""
        )
        self._started = time.perf_counter()

    def on_step_end(self, trainer: TrainingLoop, step: int, figures: Mapping[str, float]) -> None:
        rate = (step + 1) / max(time.perf_counter() - self._started, 1e-9)
        text = f"{rate:.1f} it/s  loss {figures['loss']:.4f}"
        self.bar.update(self._task, completed=step + 1, rate=text)

    def on_epoch_end(self, trainer: TrainingLoop, epoch: int, metrics: dict[str, float]) -> None:
        self.bar.remove_task(self._task)
        rate = self.batches / max(time.perf_counter() - self._started, 1e-9)
        names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
        figures = "  ".join(f"{name} {metrics[name]:.4g}" for name in names if name in metrics)
        line = f"epoch {epoch + 1}/{self.total_epochs}  {figures}  {rate:.1f} it/s"
        self.bar.console.print(line, highlight=False, soft_wrap=True)
        if epoch + 1 < self.total_epochs and not trainer.should_stop:
            self._next(epoch + 1)

    def on_train_end(self, trainer: TrainingLoop) -> None:
        if not self.bar.disable:  # Rich 13.0 prints an empty line otherwise
            self.bar.stop()


class InterruptAfterBatch(Callback):
    """Ends training after the current batch on Ctrl-C; a second Ctrl-C ends it at once.

    An exception that a signal raises inside a library may be lost in a finalizer.
    """

    watches_steps = True

    def __init__(self) -> None:
        self._asked = False

    def on_train_begin(self, trainer: TrainingLoop) -> None:
        self._asked = False
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self._asked = True
        signal.signal(number, self._before)

    def on_step_end(self, trainer: TrainingLoop, step: int, figures: Mapping[str, float]) -> None:
        if self._asked:
            raise KeyboardInterrupt

    def on_train_end(self, trainer: TrainingLoop) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
