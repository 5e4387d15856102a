"""The state of a training: model, optimizer, schedule and progress, saved and loaded as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from raytune_ocr.errors import CheckpointError
from raytune_ocr.training.allocator import keep_freed_memory
from raytune_ocr.training.callbacks.base import Callback
from raytune_ocr.training.checkpoints.rng import rng_state, set_rng_state
from raytune_ocr.training.checkpoints.state_files import part_of, read_state, write_state
from raytune_ocr.training.device import autocast_dtype, get_device
from raytune_ocr.training.loop_settings import LoopSettings
from raytune_ocr.training.optim.averaging import MovingAverage
from raytune_ocr.training.optim.lr_schedules import align_learning_rate

STATE_FORMAT = 1


class TrainingState:
    """Everything that the next epoch depends on.

    Attributes:
        epoch: epochs finished.
        history: lists of every metric, one value an epoch.
        should_stop: whether training ends after this epoch; `stop_reason` says why.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: Any,
        device: torch.device | str | None,
        settings: LoopSettings,
    ) -> None:
        self.device = get_device("auto" if device is None else device)
        if self.device.type == "cpu":
            keep_freed_memory()
        self.model = model.to(self.device)
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.average = MovingAverage(self.model, settings.ema_decay) if settings.ema_decay else None

        self.amp_dtype = autocast_dtype(self.device)
        self.use_amp = settings.mixed_precision and self.amp_dtype is not None
        self.autocast = torch.autocast(self.device.type, self.amp_dtype, enabled=self.use_amp)
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=self.use_amp and self.amp_dtype is torch.float16
        )

        self.epoch = 0
        self.history: dict[str, list[float]] = {}
        self.callbacks: list[Callback] = []
        self.should_stop = False
        self.stop_reason = ""
        self._pending_steps = 0  # batches since the last optimizer step
        self._loaded_callbacks: dict[str, Any] = {}
        self._resumed = False

    @property
    def evaluated_model(self) -> nn.Module:
        """The evaluated and saved model: the average of the weights, or the model itself."""
        average = self.average
        return average.model if average is not None and average.updates else self.model

    @property
    def learning_rate(self) -> float:
        """The learning rate of the first parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on, as tensors and plain values."""
        return {
            "format": STATE_FORMAT,
            "epoch": self.epoch,
            "model_state_dict": self.evaluated_model.state_dict(),
            "average": self._average_state(),
            "optimizer_state_dict": self.optimizer.state_dict(),
            "scheduler_state_dict": _state_of(self.scheduler),
            "scaler_state_dict": self.scaler.state_dict(),
            "callbacks": {name: c.state_dict() for name, c in self._named_callbacks()},
            "history": self.history,
            "should_stop": self.should_stop,
            "stop_reason": self.stop_reason,
            "rng": rng_state(self.device),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`; the next `train` continues from there.

        Raises:
            CheckpointError: when it belongs to another model.
        """
        self.load_weights(part_of(state, "model_state_dict"))
        if average := state.get("average"):
            if self.average is not None:
                self.average.model.load_state_dict(self.model.state_dict())
                self.average.updates = average["updates"]
            self.model.load_state_dict(average["trained"])
        self.optimizer.load_state_dict(part_of(state, "optimizer_state_dict"))
        if self.scheduler is not None and state.get("scheduler_state_dict"):
            self.scheduler.load_state_dict(state["scheduler_state_dict"])
            align_learning_rate(self.optimizer, self.scheduler)
        if state.get("scaler_state_dict"):
            self.scaler.load_state_dict(state["scaler_state_dict"])
        self.epoch = epoch = part_of(state, "epoch")
        self.history = {n: list(values[:epoch]) for n, values in state.get("history", {}).items()}
        self.should_stop = state.get("should_stop", False)
        self.stop_reason = state.get("stop_reason", "")
        self._loaded_callbacks = dict(state.get("callbacks", {}))
        if "rng" in state:
            set_rng_state(state["rng"], self.device)
        self._resumed = True
        self._pending_steps = 0  # gathered in an epoch that was broken off
        self.optimizer.zero_grad(set_to_none=True)

    def _average_state(self) -> dict[str, Any] | None:
        """Return the trained model, also if an average of its weights is evaluated."""
        if self.average is None:
            return None
        return {"updates": self.average.updates, "trained": self.model.state_dict()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Put `weights` into the model; an average of what it had is forgotten.

        Raises:
            CheckpointError: when they belong to another model.
        """
        if self.average is not None:
            self.average.updates = 0
        try:
            self.model.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(f"the checkpoint belongs to another model: {error}") from None

    def start_at(self, epoch: int) -> None:
        """Count `epoch` epochs as done; the next `train` continues after them."""
        self.epoch = epoch
        self._resumed = True

    def _restore_callbacks(self) -> None:
        for name, callback in self._named_callbacks():
            if name in self._loaded_callbacks:
                callback.load_state_dict(self._loaded_callbacks[name])
        self._loaded_callbacks = {}

    def _named_callbacks(self) -> Iterator[tuple[str, Callback]]:
        """The callbacks with the keys of their states: a second one of a name is `name 2`."""
        seen: Counter[str] = Counter()
        for callback in self.callbacks:
            seen[callback.name] += 1
            number = seen[callback.name]
            yield (callback.name if number == 1 else f"{callback.name} {number}"), callback

    def load_checkpoint(
        self, path: str, load_optimizer: bool = True, load_scheduler: bool = True
    ) -> dict[str, Any]:
        """Load a checkpoint; with the optimizer, training continues after its epoch.

        Returns:
            Everything that the checkpoint holds.

        Raises:
            CheckpointError: when the file is missing, damaged, incomplete or of another model.
        """
        state = read_state(path, self.device)
        if load_optimizer and load_scheduler:
            for name in ("model_state_dict", "optimizer_state_dict", "epoch"):
                part_of(state, name, path)  # before any part is loaded
            self.load_state_dict(state)
        else:
            self.load_weights(part_of(state, "model_state_dict", path))
            if load_optimizer:
                self.optimizer.load_state_dict(part_of(state, "optimizer_state_dict", path))
                self.start_at(part_of(state, "epoch", path))
            if load_scheduler and self.scheduler is not None and state.get("scheduler_state_dict"):
                self.scheduler.load_state_dict(state["scheduler_state_dict"])
        return state

    def _save_checkpoint(self, path: str, epoch: int, metric_value: float | None = None) -> None:
        """Write everything to `path`, aside and then in place; `epoch` epochs count as done."""
        write_state(path, {**self.state_dict(), "epoch": epoch, "metric_value": metric_value})


def _state_of(part: Any) -> Any:
    return part.state_dict() if part is not None else None
