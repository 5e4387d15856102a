"""What a user's training function sees: its epochs, its data, its device, and where it saves.

A test makes one by itself and looks at `history` afterwards: nothing here knows Ray.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from raytune_ocr.errors import ConfigurationError, TrialStopped
from raytune_ocr.tasks.values import RESERVED, checked_metrics, savable

if TYPE_CHECKING:
    import torch

    from raytune_ocr.training.callbacks.base import Callback

FORMAT = 1
FILES = "files"  # the folder that was saved, beside the state
MEBIBYTE = 2**20


class FunctionContext:
    """Counts epochs, takes in what they reached, and keeps what a resume continues from.

    Args:
        epochs: at which the training ends.
        data: what `prepare` beside the function gave.
        device: where to train.
        seed: with which the generators were seeded.
        parameters: of the function; those that change in mid-training are changed in there.
        changed: the parameters that hold after so many epochs.
        callbacks: called after each epoch with this object as the loop.
        scratch: an empty folder for `save_folder`.

    Attributes:
        epoch: epochs that were reported.
        rows: the metrics of each, with what it cost.
        stop_reason: why it has to end; "" before.
        interruption: an error that a report has raised, which ends the trial.
        saved: what the last `save` has kept.
    """

    def __init__(
        self,
        epochs: int = 1,
        data: Any = None,
        device: torch.device | str = "cpu",
        seed: int = 0,
        *,
        parameters: dict[str, Any] | None = None,
        changed: Callable[[int], Mapping[str, Any]] | None = None,
        callbacks: Sequence[Callback] = (),
        scratch: Path | None = None,
    ) -> None:
        import torch

        self.epochs = self.num_epochs = epochs
        self.data = data
        self.device = torch.device(device)
        self.seed = seed
        self.parameters = {} if parameters is None else parameters
        self.callbacks = list(callbacks)
        self.epoch = 0
        self.rows: list[dict[str, float]] = []
        self.should_stop = False
        self.stop_reason = ""
        self.interruption: Exception | None = None
        self.saved: dict[str, Any] = {}
        self._changed = changed
        self._scratch = scratch
        self._loaded: Any = None
        self._must_load = False
        self._started = time.perf_counter()
        self._cpu = time.process_time()

    # What a function calls

    def report(self, metrics: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """End an epoch with its metrics: numbers by any names.

        Raises:
            TrialStopped: the trial ends here or pauses; what was saved before is kept.
            ConfigurationError: a metric is no number, or its name is taken.
        """
        if self.interruption or self.is_over:
            raise TrialStopped(self.stop_reason)
        if self._must_load:
            raise ConfigurationError(
                "context.load: must be called before the first context.report of a resumed "
                "trial, because training continues from the saved state"
            )
        checked = checked_metrics({**(metrics or {}), **named})
        try:
            self._end_epoch(checked)
        except Exception as error:  # the trial ends, whatever its function catches
            self.interruption = error
            raise TrialStopped(str(error)) from error
        if self.should_stop:
            raise TrialStopped(self.stop_reason)

    def save(self, state: Any = None, /, **named: Any) -> None:
        """Keep what a resume needs, at the end of an epoch and before its report.

        Args:
            state: tensors, NumPy arrays and plain values, in any mappings and lists; the state
                of the generators is kept with it.
            **named: the same by names, added to a mapping.

        Raises:
            ConfigurationError: names the part that cannot be saved.
        """
        from raytune_ocr.training.checkpoints.rng import rng_state

        content = savable({**(state or {}), **named} if named else state)
        self.saved = {"epoch": self.epoch + 1, "state": content, "rng": rng_state(self.device)}

    def save_folder(self, folder: str | Path) -> None:
        """Keep a copy of a folder beside what `save` keeps; `load_folder` finds it."""
        if self.saved.get("epoch") != self.epoch + 1:
            self.save()
        shutil.rmtree(self.files, ignore_errors=True)
        shutil.copytree(folder, self.files)
        self.saved["files"] = True

    def load(self) -> Any:
        """Return what was saved last, on the CPU; None where the training starts.

        The generators have the state again that they had as it was saved.
        """
        from raytune_ocr.training.checkpoints.rng import set_rng_state

        self._must_load = False
        if self._loaded is None:
            return None
        set_rng_state(self._loaded["rng"], self.device)
        return self._loaded["state"]

    def load_folder(self) -> Path | None:
        """Return the folder that was saved last; None where there is none."""
        self._must_load = False
        return self.files if self._loaded and self._loaded.get("files") else None

    # What runs it

    @property
    def files(self) -> Path:
        """Where a saved folder is kept for as long as this context lives."""
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="raytune_ocr_"))
        return self._scratch / FILES

    @property
    def is_over(self) -> bool:
        """Whether no epoch may follow."""
        return self.should_stop or self.epoch >= self.epochs

    @property
    def history(self) -> dict[str, list[float]]:
        """Lists of every metric, one value an epoch, NaN where it was not reported."""
        names = dict.fromkeys(n for row in self.rows for n in row if n not in RESERVED)
        return {name: [row.get(name, float("nan")) for row in self.rows] for name in names}

    def state_dict(self) -> dict[str, Any]:
        """What was saved in the latest epoch, and everything else that a resume needs."""
        return {
            "format": FORMAT,
            **self.saved,
            "rows": [dict(row) for row in self.rows[: self.saved["epoch"]]],
            "should_stop": self.should_stop,
            "stop_reason": self.stop_reason,
            "callbacks": {each.name: each.state_dict() for each in self.callbacks},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`; the function must call `load` before its first report."""
        self.epoch, self.rows = state["epoch"], [dict(row) for row in state["rows"]]
        self.should_stop, self.stop_reason = state["should_stop"], state["stop_reason"]
        self._loaded = self.saved = {k: state[k] for k in ("epoch", "state", "rng")}
        self.saved |= {"files": True} if state.get("files") else {}
        self._must_load = True
        for each in self.callbacks:
            if each.name in state["callbacks"]:
                each.load_state_dict(state["callbacks"][each.name])
        self._change_parameters()

    def begin(self) -> None:
        """Before the function is called."""
        for each in self.callbacks:
            each.on_train_begin(self)  # type: ignore[arg-type]
        self._started, self._cpu = time.perf_counter(), time.process_time()

    def end(self) -> None:
        """After it has returned or raised."""
        for each in self.callbacks:
            each.on_train_end(self)  # type: ignore[arg-type]

    def _end_epoch(self, metrics: dict[str, float]) -> None:
        epoch = self.epoch
        self.epoch += 1
        figures = {**metrics, **self._measured()}
        self.rows.append({"epoch": self.epoch, **figures})
        for each in self.callbacks:
            each.on_epoch_end(self, epoch, figures)  # type: ignore[arg-type]
        for each in self.callbacks if not self.is_over else ():
            each.on_epoch_begin(self, self.epoch)  # type: ignore[arg-type]
            if each.watches_steps:
                each.on_step_end(self, 0, {"loss": float("nan")})  # type: ignore[arg-type]
        self._change_parameters()

    def _change_parameters(self) -> None:
        if self._changed is not None:
            self.parameters.update(self._changed(self.epoch))

    def _measured(self) -> dict[str, float]:
        """What the epoch cost."""
        import torch

        now, cpu = time.perf_counter(), time.process_time()
        seconds, cpu_seconds = now - self._started, cpu - self._cpu
        self._started, self._cpu = now, cpu
        measured = {
            "threads": torch.get_num_threads(),
            "seconds": seconds,
            "memory_mb": psutil.Process().memory_info().rss / MEBIBYTE,
            "cpu_percent": 100 * cpu_seconds / max(seconds, 1e-9),
        }
        if self.device.type == "cuda":
            measured["gpu_memory_mb"] = torch.cuda.max_memory_allocated(self.device) / MEBIBYTE
        return measured
