"""Callbacks: what watches, saves and stops the loop. Each keeps its state over a resume.

A callback is called `(trainer, epoch, metrics)` after every epoch, epoch counted from 0.
Stopping is a flag: `trainer.should_stop = True`, with the cause in `trainer.stop_reason`.
"""

from __future__ import annotations

import copy
import logging
import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_ocr.config import mode_of
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.files import replacing

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

    from raytune_ocr.training.trainer import Trainer

logger = logging.getLogger(__name__)

EARLY = "early_stopping"  # a reason to stop
STEPS = "steps"  # the folder of what is noted of single steps, in TensorBoard's


class Callback:
    """Does nothing; subclasses say when they act."""

    watches_steps = False  # True: on_step_end is called

    @property
    def name(self) -> str:
        """The key of its state in a checkpoint."""
        return type(self).__name__

    def on_train_begin(self, trainer: Trainer) -> None:
        """Before the first epoch of this call of `train`."""

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Before an epoch, counted from 0; also before the first one after a resume."""

    def on_step_end(self, trainer: Trainer, step: int, figures: Mapping[str, float]) -> None:
        """After each training batch, if `watches_steps`; `step` counts from 0 in the epoch."""

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, float]) -> None:
        """After training, evaluation and the schedule of an epoch; may add to `metrics`."""

    def on_callback_error(self, trainer: Trainer) -> None:
        """When another callback raised: the epoch is whole, and the error ends the training."""

    def on_train_end(self, trainer: Trainer) -> None:
        """After the last epoch, also when an error ended the training."""

    def state_dict(self) -> dict[str, Any]:
        """What has to survive a resume."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up `state_dict()`."""

    def __call__(self, trainer: Trainer, epoch: int, metrics: dict[str, float]) -> None:
        self.on_epoch_end(trainer, epoch, metrics)


class FunctionCallback(Callback):
    """A plain function `(trainer, epoch, metrics)` as a callback of its name."""

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function

    @property
    def name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, float]) -> None:
        self.function(trainer, epoch, metrics)


def monitored(metrics: Mapping[str, float], name: str) -> float:
    """`metrics[name]`, or a ConfigurationError that lists the metrics there are."""
    if name not in metrics:
        known = ", ".join(sorted(metrics))
        raise ConfigurationError(f"monitor: nobody reports {name!r}; there are {known}")
    return metrics[name]


class EarlyStopping:
    """Says when a score has not improved for `patience` epochs. NaN never counts as best.

    Args:
        patience: epochs without improvement that are waited for; 0 never stops.
        min_delta: the least change that is an improvement.
        mode: "min" for a loss, "max" for an accuracy.
        restore_best_weights: whether a trainer should end with the best epoch's weights.
    """

    def __init__(
        self,
        patience: int = 10,
        min_delta: float = 1e-4,
        mode: str = "min",
        restore_best_weights: bool = True,
    ) -> None:
        if mode not in ("min", "max"):
            raise ConfigurationError(f"mode: must be one of min, max, got {mode!r}")
        self.patience = patience
        self.min_delta = min_delta
        self.mode = mode
        self.restore_best_weights = restore_best_weights
        self.reset()

    def reset(self) -> None:
        """Forget all scores."""
        self.should_stop = False
        self.best_score = -math.inf if self.mode == "max" else math.inf
        self.best_epoch = -1
        self.waited = 0

    def __call__(self, score: float, epoch: int) -> bool:
        """Note the score of `epoch`; True when it is time to stop."""
        gain = score - self.best_score if self.mode == "max" else self.best_score - score
        if gain > self.min_delta:
            self.best_score, self.best_epoch, self.waited = score, epoch, 0
        else:
            self.waited += 1
            self.should_stop = 0 < self.patience <= self.waited
        return self.should_stop

    def state_dict(self) -> dict[str, Any]:
        """Best score, its epoch and the epochs waited since."""
        names = ("should_stop", "best_score", "best_epoch", "waited")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up `state_dict()`."""
        for name, value in state.items():
            setattr(self, name, value)


class EarlyStoppingCallback(Callback):
    """Stops the loop when `monitor` no longer improves."""

    def __init__(
        self,
        monitor: str,
        patience: int,
        min_delta: float = 0.0,
        mode: str | None = None,
    ) -> None:
        self.monitor = monitor
        self.stopping = EarlyStopping(patience, min_delta, mode or mode_of(monitor))
        self._of_another = False  # what was loaded

    def on_train_begin(self, trainer: Trainer) -> None:
        stopping = self.stopping
        if self._of_another:
            self._of_another = False
            for epoch, score in enumerate(trainer.history.get(self.monitor, [])):
                stopping(score, epoch)
            stopping.should_stop = trainer.stop_reason == EARLY
        if stopping.should_stop and not 0 < stopping.patience <= stopping.waited:
            stopping.should_stop = False  # it goes on with more patience than it had
            if trainer.stop_reason == EARLY:
                trainer.should_stop, trainer.stop_reason = False, ""

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, float]) -> None:
        if self.stopping(monitored(metrics, self.monitor), epoch):
            trainer.should_stop = True
            trainer.stop_reason = EARLY

    @property
    def _follows(self) -> dict[str, str]:
        return {"monitor": self.monitor, "mode": self.stopping.mode}

    def state_dict(self) -> dict[str, Any]:
        return {**self.stopping.state_dict(), **self._follows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up `state_dict()`; of another monitor or mode, that comes anew from the history."""
        if {name: state.get(name) for name in self._follows} == self._follows:
            self.stopping.load_state_dict(state)
        else:
            self._of_another = True


class BestWeights(Callback):
    """Remembers the weights and metrics of the best epoch, and puts the weights back at the end.

    Args:
        best_of: the best of some epochs' metrics, such as `TrainingConfig.best_of`.
    """

    def __init__(
        self, best_of: Callable[[Sequence[Mapping[str, float]]], Mapping[str, float]]
    ) -> None:
        self.best_of = best_of
        self.best_epoch = -1
        self.best_metrics: dict[str, float] = {}
        self.weights: dict[str, Any] = {}

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, float]) -> None:
        if self.best_of([self.best_metrics, metrics]) is metrics:
            self.best_epoch = epoch
            self.best_metrics = dict(metrics)
            self.weights = copy.deepcopy(trainer.evaluated_model.state_dict())

    def on_train_end(self, trainer: Trainer) -> None:
        if self.weights:
            trainer.load_weights(self.weights)

    def state_dict(self) -> dict[str, Any]:
        return {
            "best_epoch": self.best_epoch,
            "best_metrics": self.best_metrics,
            "weights": self.weights,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best_epoch = state["best_epoch"]
        self.best_metrics = dict(state["best_metrics"])
        self.weights = dict(state["weights"])


class PeriodicCheckpoint(Callback):
    """Writes `checkpoint_epoch_N.pt` every `frequency` epochs, N counted from 1."""

    def __init__(self, folder: str | os.PathLike[str], frequency: int = 1) -> None:
        self.folder = Path(folder)
        self.frequency = frequency

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, float]) -> None:
        if (epoch + 1) % self.frequency == 0 or trainer.should_stop:
            self._save(trainer)

    def on_callback_error(self, trainer: Trainer) -> None:
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        path = self.folder / f"checkpoint_epoch_{trainer.epoch}.pt"
        trainer._save_checkpoint(str(path), trainer.epoch - 1)


class BestCheckpoint(Callback):
    """Writes `best_model.pt` whenever `monitor` is better than ever before."""

    def __init__(self, folder: str | os.PathLike[str], monitor: str) -> None:
        self.folder = Path(folder)
        self.monitor = monitor
        self.best = EarlyStopping(0, 0.0, mode_of(monitor))

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, float]) -> None:
        score = monitored(metrics, self.monitor)
        self.best(score, epoch)
        if self.best.best_epoch == epoch:
            trainer._save_checkpoint(str(self.folder / "best_model.pt"), epoch, score)

    def state_dict(self) -> dict[str, Any]:
        return self.best.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best.load_state_dict(state)


def event_writer(folder: Path, purge_step: int | None = None) -> SummaryWriter:
    """TensorBoard's writer of one more part of a trial.

    TensorBoard reads a folder's files by their names: second, host, process id as text. Of two
    parts of one second the later might be read first, and lost to the other's purge; so a part
    begins no sooner than the second after the one before it.

    Args:
        purge_step: what earlier parts hold of this step and later ones is not shown.
    """
    from torch.utils.tensorboard.writer import SummaryWriter  # slow to import

    if any(folder.glob(f"events.out.tfevents.{int(time.time())}.*")):
        time.sleep(1 - time.time() % 1)
    return SummaryWriter(str(folder), purge_step=purge_step)


class TensorBoardLogger(Callback):
    """Scalars under their own names, `train_loss` and so on, by epoch from 1.

    What is noted of single steps stands in a folder of its own below: where a resume lets
    TensorBoard forget epochs that are trained again, it would forget all steps above that number.

    Args:
        settings: of the run, shown under HParams, constants as well.
        metrics: names of the scalars that HParams sets beside them.
        pictures: called once training ended by itself; gives uint8 [H, W, 3] by name.
    """

    watches_steps = True

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every_n_steps: int = 25,
        settings: Mapping[str, Any] | None = None,
        metrics: Sequence[str] = (),
        pictures: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.every_n_steps = every_n_steps
        self.settings = dict(settings or {})
        self.metrics = metrics
        self.pictures = pictures
        self._steps = 0
        self._steps_writer: SummaryWriter | None = None

    def on_train_begin(self, trainer: Trainer) -> None:
        from torch.utils.tensorboard.summary import hparams  # slow to import

        self._steps_writer, self._resumed_at = None, self._steps
        self.writer = event_writer(self.folder, purge_step=trainer.epoch + 1)
        if self.settings:
            plain = {name: _plain(value) for name, value in self.settings.items()}
            for summary in hparams(plain, dict.fromkeys(self.metrics, 0.0)):
                self.writer._get_file_writer().add_summary(summary)

    def on_step_end(self, trainer: Trainer, step: int, figures: Mapping[str, float]) -> None:
        self._steps += 1
        if self._steps % self.every_n_steps == 0:
            if self._steps_writer is None:
                self._steps_writer = event_writer(self.folder / STEPS, self._resumed_at + 1)
            self._steps_writer.add_scalar("step/loss", figures["loss"], self._steps)

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, epoch + 1)

    def on_train_end(self, trainer: Trainer) -> None:
        ended_by_itself = sys.exc_info()[0] is None  # else there may be no time left
        if self.pictures is not None and trainer.epoch and ended_by_itself:
            for name, pixels in self.pictures().items():
                self.writer.add_image(name, pixels, trainer.epoch, dataformats="HWC")
        self.writer.close()
        if self._steps_writer is not None:
            self._steps_writer.close()

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._steps = state["steps"]


def _plain(value: Any) -> Any:
    """What HParams can show: numbers and flags as they are, anything else as text."""
    return value if isinstance(value, (bool, int, float, str)) else str(value)


class EpochLog(Callback):
    """One line an epoch into a log file, and with `every_n_steps` one every n steps.

    After a resume the file holds the epochs that were done, each once: lines of epochs that will
    be trained again go, lines that a crash swallowed come back.
    """

    watches_steps = True

    def __init__(
        self, path: str | os.PathLike[str], total_epochs: int, every_n_steps: int = 0
    ) -> None:
        self.path = Path(path)
        self.total_epochs = total_epochs
        self.every_n_steps = every_n_steps

    def on_train_begin(self, trainer: Trainer) -> None:
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

    def on_step_end(self, trainer: Trainer, step: int, figures: Mapping[str, float]) -> None:
        if self.every_n_steps and (step + 1) % self.every_n_steps == 0:
            self._write(f"  epoch {trainer.epoch + 1} step {step + 1} {_figures(figures)}\n")

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, float]) -> None:
        self._write(self._line(epoch + 1, metrics))

    def _line(self, epoch: int, metrics: Mapping[str, float]) -> str:
        return f"epoch {epoch}/{max(epoch, self.total_epochs)} {_figures(metrics)}\n"

    def _write(self, line: str) -> None:
        with self.path.open("a", encoding="utf-8") as log:
            log.write(line)


def _figures(figures: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:.6g}" for name, value in figures.items())


def read_epoch_log(path: str | os.PathLike[str]) -> dict[str, list[float]]:
    """What `EpochLog` wrote: lists of every metric, one value an epoch from the first one.

    NaN stands for what is not there; a torn line is left out.

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

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, float]) -> None:
        from raytune_ocr.plots import draw_learning_curves, save_figure  # slow to import

        save_figure(
            self.path, lambda figure: draw_learning_curves(figure, trainer.history), size=(9, 4)
        )


class ProgressBar(Callback):
    """A bar an epoch with batches a second (it/s) on a terminal; a line an epoch everywhere."""

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

    def on_train_begin(self, trainer: Trainer) -> None:
        self.bar.start()
        self._next(trainer.epoch)

    def _next(self, epoch: int) -> None:
        self._task = self.bar.add_task(
            f"epoch {epoch + 1}/{self.total_epochs}", total=self.batches, rate=""
        )
        self._started = time.perf_counter()

    def on_step_end(self, trainer: Trainer, step: int, figures: Mapping[str, float]) -> None:
        rate = (step + 1) / max(time.perf_counter() - self._started, 1e-9)
        text = f"{rate:.1f} it/s  loss {figures['loss']:.4f}"
        self.bar.update(self._task, completed=step + 1, rate=text)

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, float]) -> None:
        self.bar.remove_task(self._task)
        rate = self.batches / max(time.perf_counter() - self._started, 1e-9)
        names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
        told = "  ".join(f"{name} {metrics[name]:.4g}" for name in names if name in metrics)
        line = f"epoch {epoch + 1}/{self.total_epochs}  {told}  {rate:.1f} it/s"
        self.bar.console.print(line, highlight=False, soft_wrap=True)
        if epoch + 1 < self.total_epochs and not trainer.should_stop:
            self._next(epoch + 1)

    def on_train_end(self, trainer: Trainer) -> None:
        self.bar.stop()


class InterruptAfterBatch(Callback):
    """Ctrl-C ends training after the batch at hand, never within a library; twice, at once.

    An exception that a signal raises anywhere may be swallowed by a finalizer, and then nothing
    stops.
    """

    watches_steps = True

    def __init__(self) -> None:
        self._asked = False

    def on_train_begin(self, trainer: Trainer) -> None:
        self._asked = False
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self._asked = True
        signal.signal(number, self._before)

    def on_step_end(self, trainer: Trainer, step: int, figures: Mapping[str, float]) -> None:
        if self._asked:
            raise KeyboardInterrupt

    def on_train_end(self, trainer: Trainer) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
