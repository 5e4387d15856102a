"""The one training loop: steps, epochs, evaluation and callbacks.

Nothing here is about digits, files, pictures or Ray. A subclass says what a batch is and what
the loss means; callbacks watch, save and stop. A run that is saved after an epoch and loaded
goes on exactly as one that was never stopped.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from raytune_ocr.errors import (
    CheckpointError,
    ConfigurationError,
    DataLoaderError,
    DivergenceError,
    ExperimentFailedError,
    RaytuneOCRError,
)
from raytune_ocr.training.allocator import keep_freed_memory
from raytune_ocr.training.averaging import MovingAverage
from raytune_ocr.training.callbacks.base import Callback, FunctionCallback, monitored
from raytune_ocr.training.callbacks.checkpoints import BestCheckpoint, PeriodicCheckpoint
from raytune_ocr.training.callbacks.early_stopping import EarlyStoppingCallback
from raytune_ocr.training.checkpoint import read_state, write_state
from raytune_ocr.training.device import autocast_dtype, get_device
from raytune_ocr.training.lr_schedules import catch_up
from raytune_ocr.training.rng import rng_state, set_rng_state

STATE_FORMAT = 1


class Metrics(Protocol):
    """What the loop asks of a calculator of metrics."""

    def reset(self) -> None: ...
    def update(self, predictions: Any, targets: Any) -> None: ...
    def compute(self) -> dict[str, float]: ...


class Trainer:
    """Trains any PyTorch model on any batches.

    Args:
        model: moved to `device`.
        optimizer: over the model's parameters.
        loss_fn: `(outputs, targets) -> loss` or a mapping with "loss"; None when the model
            returns its own loss (Hugging Face).
        config: anything whose `training` has `weight_decay`, `max_grad_norm`,
            `scheduler_step_per_batch`, `gradient_accumulation_steps`, `mixed_precision` or
            `ema_decay`, as attributes or keys; all optional. With `ema_decay` above 0, what is
            evaluated and kept is a moving average of the weights.
        device: default: CUDA, MPS or CPU, the first there is.
        scheduler: stepped each epoch, or each optimizer step with `scheduler_step_per_batch`.
    """

    eval_prefix = "eval"

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss_fn: Callable[..., Any] | None,
        config: Any = None,
        device: torch.device | None = None,
        scheduler: Any = None,
    ) -> None:
        self.device = device or get_device()
        if self.device.type == "cpu":
            keep_freed_memory()
        self.model = model.to(self.device)
        self.optimizer = optimizer
        self.loss_fn = loss_fn
        self.config = config
        self.scheduler = scheduler
        self.train_metrics: Metrics | None = None
        self.eval_metrics: Metrics | None = None
        self.plateau_metric: str | None = None

        self.max_grad_norm = float(self._setting("max_grad_norm", 0.0) or 0.0)
        self.accumulation_steps = int(self._setting("gradient_accumulation_steps", 1))
        self.scheduler_step_per_batch = bool(self._setting("scheduler_step_per_batch", False))
        weight_decay = self._setting("weight_decay", None)
        if weight_decay is not None:
            for group in optimizer.param_groups:
                group["weight_decay"] = float(weight_decay)

        decay = float(self._setting("ema_decay", 0.0))
        self.average = MovingAverage(self.model, decay) if decay else None

        self.amp_dtype = autocast_dtype(self.device)
        self.use_amp = bool(self._setting("mixed_precision", False)) and self.amp_dtype is not None
        self.autocast = torch.autocast(self.device.type, self.amp_dtype, enabled=self.use_amp)
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=self.use_amp and self.amp_dtype is torch.float16
        )

        self.epoch = 0  # epochs finished
        self.step = 0  # of this epoch, counted from 0
        self.history: dict[str, list[float]] = {}
        self.callbacks: list[Callback] = []
        self.should_stop = False
        self.stop_reason = ""
        self._pending_steps = 0
        self._loaded_callbacks: dict[str, Any] = {}
        self._resumed = False

    def _setting(self, name: str, default: Any) -> Any:
        """`config.training.<name>`, as attribute or key, or the default."""
        training = _member(self.config, "training")
        value = _member(training, name)
        return default if value is None else value

    # One step

    def train_step(self, batch: Any) -> dict[str, float]:
        """Forward, backward and, when enough gradients were gathered, one optimizer step.

        Raises:
            DivergenceError: when the loss is NaN or infinite; the weights are left as they were.
        """
        inputs, targets = self._prepare_batch(batch)
        with self.autocast:
            outputs = self._forward_pass(inputs)
        loss = self._compute_loss(outputs, targets)
        value = loss.item()
        if not math.isfinite(value):
            raise DivergenceError(
                f"loss: must be finite, got {value} in epoch {self.epoch + 1}, step "
                f"{self.step + 1}, at learning rate {self.learning_rate:g}; lower the learning "
                "rate or clip gradients"
            )
        share = loss if self.accumulation_steps == 1 else loss / self.accumulation_steps
        self.scaler.scale(share).backward()
        self._pending_steps += 1
        if self._pending_steps >= self.accumulation_steps:
            self._optimizer_step()
        if self.train_metrics is not None:
            self._update_metrics(self.train_metrics, outputs, targets)
        return {"loss": value}

    def _optimizer_step(self) -> None:
        self._pending_steps = 0
        if self.max_grad_norm > 0:
            self.scaler.unscale_(self.optimizer)
            # Not model.parameters(): walking the modules takes as long as the clipping itself.
            groups = self.optimizer.param_groups
            trained = [weight for group in groups for weight in group["params"]]
            nn.utils.clip_grad_norm_(trained, self.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()
        if self.scheduler is not None and self.scheduler_step_per_batch:
            self.scheduler.step()

    def eval_step(self, batch: Any) -> dict[str, float]:
        """Loss of one batch, without gradients."""
        inputs, targets = self._prepare_batch(batch)
        with self.autocast:
            outputs = self._forward_pass(inputs)
        loss = self._compute_loss(outputs, targets)
        if self.eval_metrics is not None:
            self._update_metrics(self.eval_metrics, outputs, targets)
        return {"loss": loss.item()}

    # One epoch

    def train_epoch(
        self, train_dataloader: Iterable[Any], eval_dataloader: Any = None, epoch: int = 0
    ) -> dict[str, float]:
        """One pass over the training batches and, where given, one evaluation.

        Returns:
            `train_*` means over the samples, `<eval_prefix>_*` if evaluated, `learning_rate`
            (the one trained with), `seconds` and `samples_per_second` of training.
        """
        _set_epoch(train_dataloader, epoch)
        self.model.train()
        learning_rate = self.learning_rate
        started = time.perf_counter()
        means = self._pass_over(train_dataloader, self.train_step, self.train_metrics, epoch)
        if self._pending_steps:
            self._optimizer_step()
        seconds = time.perf_counter() - started
        metrics = {f"train_{name}": value for name, value in means.figures.items()}
        if eval_dataloader is not None:
            evaluated = self.evaluate(eval_dataloader)
            metrics.update({f"{self.eval_prefix}_{name}": v for name, v in evaluated.items()})
        metrics["learning_rate"] = learning_rate
        metrics["seconds"] = seconds
        metrics["samples_per_second"] = means.samples / max(seconds, 1e-9)
        return metrics

    def evaluate(self, dataloader: Iterable[Any]) -> dict[str, float]:
        """Means over the samples of `dataloader`, in evaluation mode and without gradients.

        Raises:
            DataLoaderError: when there is no batch.
        """
        trained, was_training = self.model, self.model.training
        self.model = self.evaluated_model.eval()
        try:
            with torch.no_grad():
                return self._pass_over(dataloader, self.eval_step, self.eval_metrics).figures
        finally:
            self.model = trained.train(was_training)

    @property
    def evaluated_model(self) -> nn.Module:
        """What is evaluated and kept: the average of the weights, or the model itself."""
        average = self.average
        return average.model if average is not None and average.updates else self.model

    def _pass_over(
        self,
        dataloader: Iterable[Any],
        step: Callable[[Any], dict[str, float]],
        calculator: Metrics | None,
        epoch: int | None = None,
    ) -> _Means:
        if calculator is not None:
            calculator.reset()
        watching = [c for c in self.callbacks if c.watches_steps] if epoch is not None else []
        means = _Means()
        for index, batch in enumerate(dataloader):
            if epoch is not None:
                self.step = index
            figures = step(batch)
            means.add(figures, _batch_size(batch))
            for callback in watching:
                callback.on_step_end(self, index, figures)
        if means.samples == 0:
            raise DataLoaderError("the data loader gave no batch; give it at least one sample")
        if calculator is not None:
            # A float of NumPy's is one of Python's, but no state with it could be read again.
            means.figures.update({n: float(value) for n, value in calculator.compute().items()})
        return means

    # Many epochs

    def train(
        self,
        train_dataloader: Iterable[Any],
        num_epochs: int,
        eval_dataloader: Iterable[Any] | None = None,
        save_dir: str | os.PathLike[str] | None = None,
        save_freq: int = 1,
        best_model_metric: str | None = "eval_loss",
        early_stopping_patience: int | None = None,
        callbacks: Sequence[Callback | Callable[..., None]] | None = None,
    ) -> dict[str, list[float]]:
        """Train until `num_epochs` epochs are done in all, or a callback sets `should_stop`.

        Args:
            save_dir: where checkpoints go, every `save_freq` epochs and for the best epoch.
            best_model_metric: decides what is best; lower is better for a name with "loss",
                "cer" or "error" in it. Without evaluation "train_loss" stands in for the default.
            early_stopping_patience: epochs without improvement of that metric before stopping.
            callbacks: `Callback`s, or functions `(trainer, epoch, metrics)`, epoch from 0.

        Returns:
            Lists of every metric, one value an epoch, those before a resume included.
        """
        if not self._resumed:
            self.epoch, self.history, self.should_stop, self.stop_reason = 0, {}, False, ""
        metric = best_model_metric
        if eval_dataloader is None and metric == "eval_loss":
            metric = "train_loss"
        self.callbacks = [_as_callback(callback) for callback in callbacks or []]
        if early_stopping_patience is not None and metric:
            self.callbacks.append(EarlyStoppingCallback(metric, early_stopping_patience))
        if save_dir is not None:
            if metric:
                self.callbacks.append(BestCheckpoint(save_dir, metric))
            self.callbacks.append(PeriodicCheckpoint(save_dir, save_freq))
        self._restore_callbacks()

        for callback in self.callbacks:
            callback.on_train_begin(self)
        try:
            while self.epoch < num_epochs and not self.should_stop:
                self._run_epoch(train_dataloader, eval_dataloader)
        finally:
            self._resumed = False
            for callback in self.callbacks:
                callback.on_train_end(self)
        self.stop_reason = self.stop_reason or "max_epochs"
        return self.history

    def _run_epoch(self, train_dataloader: Iterable[Any], eval_dataloader: Any) -> None:
        for callback in self.callbacks:
            callback.on_epoch_begin(self, self.epoch)
        metrics = self.train_epoch(train_dataloader, eval_dataloader, self.epoch)
        self._step_scheduler(metrics)
        for name in {**self.history, **metrics}:  # a value an epoch, whoever measured it or not
            values = self.history.setdefault(name, [math.nan] * self.epoch)
            values.append(metrics.get(name, math.nan))
        epoch = self.epoch
        self.epoch += 1
        for callback in self.callbacks:
            try:
                callback(self, epoch, metrics)
            except Exception as error:
                for other in self.callbacks:
                    other.on_callback_error(self)
                if isinstance(error, RaytuneOCRError):
                    raise
                raise ExperimentFailedError(
                    f"the callback {callback.name!r} raised in epoch {epoch + 1}: {error!r}"
                ) from error

    def _step_scheduler(self, metrics: Mapping[str, float]) -> None:
        if self.scheduler is None or self.scheduler_step_per_batch:
            return
        if isinstance(self.scheduler, ReduceLROnPlateau):
            default = f"{self.eval_prefix}_loss"
            name = self.plateau_metric or (default if default in metrics else "train_loss")
            self.scheduler.step(monitored(metrics, name))
        else:
            self.scheduler.step()

    @property
    def learning_rate(self) -> float:
        """Of the first parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

    # State

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next epoch depends on, as tensors and plain values."""
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
        """Go on from `state_dict()`; the next `train` continues there.

        Raises:
            CheckpointError: when it belongs to another model.
        """
        self.load_weights(state["model_state_dict"])
        if average := state.get("average"):
            if self.average is not None:
                self.average.model.load_state_dict(self.model.state_dict())
                self.average.updates = average["updates"]
            self.model.load_state_dict(average["trained"])
        self.optimizer.load_state_dict(state["optimizer_state_dict"])
        if self.scheduler is not None and state.get("scheduler_state_dict"):
            self.scheduler.load_state_dict(state["scheduler_state_dict"])
            catch_up(self.optimizer, self.scheduler)
        if state.get("scaler_state_dict"):
            self.scaler.load_state_dict(state["scaler_state_dict"])
        self.epoch = state["epoch"]
        self.history = {name: list(values) for name, values in state.get("history", {}).items()}
        self.should_stop = state.get("should_stop", False)
        self.stop_reason = state.get("stop_reason", "")
        self._loaded_callbacks = dict(state.get("callbacks", {}))
        if "rng" in state:
            set_rng_state(state["rng"], self.device)
        self._resumed = True
        self._pending_steps = 0  # gathered in an epoch that was broken off
        self.optimizer.zero_grad(set_to_none=True)

    def _average_state(self) -> dict[str, Any] | None:
        """What goes on being trained where an average of it is what is kept."""
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
        """Count `epoch` epochs as done; the next `train` goes on after them."""
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
        """Load a checkpoint; with the optimizer, training goes on after its epoch.

        Returns:
            Everything that the checkpoint holds.

        Raises:
            CheckpointError: when the file is missing, damaged or of another model.
        """
        state = read_state(path, self.device)
        if load_optimizer and load_scheduler:
            self.load_state_dict(state)
        else:
            self.load_weights(state["model_state_dict"])
            if load_optimizer:
                self.optimizer.load_state_dict(state["optimizer_state_dict"])
                self.start_at(state["epoch"])
            if load_scheduler and self.scheduler is not None and state["scheduler_state_dict"]:
                self.scheduler.load_state_dict(state["scheduler_state_dict"])
        return state

    # What a subclass may change

    def _prepare_batch(self, batch: Any) -> tuple[Any, Any]:
        """`(inputs, targets)` on the device; a mapping keeps its `labels` inside."""
        batch = _to_device(batch, self.device)
        if isinstance(batch, Mapping):
            return batch, batch.get("labels")
        if isinstance(batch, (list, tuple)):
            if len(batch) == 2:
                return batch[0], batch[1]
            return tuple(batch[:-1]), batch[-1]
        return batch, batch

    def _forward_pass(self, inputs: Any) -> Any:
        """The model's outputs; mappings go in as keywords, tuples as arguments."""
        if isinstance(inputs, Mapping):
            return self.model(**inputs)
        if isinstance(inputs, tuple):
            return self.model(*inputs)
        return self.model(inputs)

    def _compute_loss(self, outputs: Any, targets: Any) -> Tensor:
        """The loss to go down, a scalar tensor.

        Raises:
            ConfigurationError: with no `loss_fn` and a model that returns no loss.
        """
        if self.loss_fn is not None:
            loss = self.loss_fn(outputs, targets)
            return loss["loss"] if isinstance(loss, Mapping) else loss
        loss = _member(outputs, "loss")
        if loss is None:
            raise ConfigurationError(
                "loss_fn: must be given, since the model returns no loss of its own"
            )
        return loss

    def _update_metrics(self, calculator: Metrics, outputs: Any, targets: Any) -> None:
        """Show a batch to the calculator."""
        calculator.update(outputs, targets)

    def _save_checkpoint(self, path: str, epoch: int, metric_value: float | None = None) -> None:
        """Write everything to `path`, aside and then in place."""
        write_state(path, {**self.state_dict(), "metric_value": metric_value})


class _Means:
    """Means of figures over samples, not over batches."""

    def __init__(self) -> None:
        self.samples = 0
        self.figures: dict[str, float] = {}

    def add(self, figures: Mapping[str, float], samples: int) -> None:
        self.samples += samples
        for name, value in figures.items():
            before = self.figures.get(name, 0.0)
            self.figures[name] = before + (value - before) * samples / self.samples


def _as_callback(callback: Callback | Callable[..., None]) -> Callback:
    return callback if isinstance(callback, Callback) else FunctionCallback(callback)


def _member(owner: Any, name: str) -> Any:
    if isinstance(owner, Mapping):
        return owner.get(name)
    return getattr(owner, name, None)


def _state_of(part: Any) -> Any:
    return part.state_dict() if part is not None else None


def _set_epoch(dataloader: Any, epoch: int) -> None:
    for part in ("sampler", "dataset"):
        set_epoch = getattr(getattr(dataloader, part, None), "set_epoch", None)
        if set_epoch is not None:
            set_epoch(epoch)


def _to_device(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {key: _to_device(item, device) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_to_device(item, device) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _batch_size(batch: Any) -> int:
    if isinstance(batch, Tensor):
        return len(batch)
    values = list(batch.values()) if isinstance(batch, Mapping) else batch
    return next((_batch_size(v) for v in values if isinstance(v, (Tensor, list, tuple))), 1)
