"""Write TensorBoard files."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter
from raytune_ocr.files import naming_disk_full
from raytune_ocr.training.callbacks.base import Callback, TrainingLoop

STEPS = "steps"  # folder of the events of single steps, in TensorBoard's


def event_writer(folder: Path, purge_step: int | None = None) -> SummaryWriter:
    """TensorBoard's writer of the next event file in a folder.

    TensorBoard reads a folder's files in the order of their names: second, host, process id as
    text. Of two files of one second the later one might be read first and then purged by the
    other, so a new file waits for the next second.

    Args:
        purge_step: TensorBoard hides the events of earlier files from this step on.
    """
    from torch.utils.tensorboard.writer import SummaryWriter  # slow to import

    if any(folder.glob(f"events.out.tfevents.{int(time.time())}.*")):
        time.sleep(1 - time.time() % 1)
    return SummaryWriter(str(folder), purge_step=purge_step)


class TensorBoardLogger(Callback):
    """Writes scalars under their own names, `train_loss` and so on, by epoch from 1.

    Events of single steps are in a sub-folder: a resume purges the epochs that are trained again,
    which in one folder would purge all steps above that number as well.

    Args:
        settings: of the run, shown under HParams.
        metrics: with a mode, "max" or "min", each; the best value so far of NAME is the scalar
            best_NAME, which HParams shows, since of a scalar it knows the last value alone.
        pictures: called when training ends without an error; gives uint8 [H, W, 3] by name.
    """

    watches_steps = True

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every_n_steps: int = 25,
        settings: Mapping[str, Any] | None = None,
        metrics: Mapping[str, str] | None = None,
        pictures: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.every_n_steps = every_n_steps
        self.settings = dict(settings or {})
        self.metrics = dict(metrics or {})
        self._best: dict[str, float] = {}
        self.pictures = pictures
        self._steps = 0
        self._steps_writer: SummaryWriter | None = None

    def on_train_begin(self, trainer: TrainingLoop) -> None:
        from torch.utils.tensorboard.summary import hparams  # slow to import

        self._steps_writer, self._resumed_at = None, self._steps
        self.writer = event_writer(self.folder, purge_step=trainer.epoch + 1)
        if self.settings:
            plain = {name: _plain(value) for name, value in self.settings.items()}
            _, *session = hparams(plain, {})  # without the list of settings of one run alone
            for summary in session:  # TensorBoard makes its own, of all runs: what differs first
                self.writer._get_file_writer().add_summary(summary)

    def on_step_end(self, trainer: TrainingLoop, step: int, figures: Mapping[str, float]) -> None:
        self._steps += 1
        if self._steps % self.every_n_steps == 0:
            if self._steps_writer is None:
                self._steps_writer = event_writer(self.folder / STEPS, self._resumed_at + 1)
            with naming_disk_full(self.folder):
                self._steps_writer.add_scalar("step/loss", figures["loss"], self._steps)

    def on_epoch_end(self, trainer: TrainingLoop, epoch: int, metrics: dict[str, float]) -> None:
        values = dict(metrics)
        for name, mode in self.metrics.items():
            if not math.isnan(value := metrics.get(name, math.nan)):
                choose = max if mode == "max" else min
                self._best[name] = choose(value, self._best.get(name, value))
                values[f"best_{name}"] = self._best[name]
        with naming_disk_full(self.folder):
            for name, value in values.items():
                self.writer.add_scalar(name, value, epoch + 1)

    def on_train_end(self, trainer: TrainingLoop) -> None:
        ended_by_itself = sys.exc_info()[0] is None  # else there may be no time left
        if self.pictures is not None and trainer.epoch and ended_by_itself:
            for name, pixels in self.pictures().items():
                self.writer.add_image(name, pixels, trainer.epoch, dataformats="HWC")
        with naming_disk_full(self.folder):
            self.writer.close()
            if self._steps_writer is not None:
                self._steps_writer.close()

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps, "best": dict(self._best)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._steps = state["steps"]
        self._best = dict(state.get("best", {}))  # states of version 0.1 have none


def _plain(value: Any) -> Any:
    """A value that HParams can show: numbers, flags and text as they are, others as text."""
    return value if isinstance(value, (bool, int, float, str)) else str(value)
