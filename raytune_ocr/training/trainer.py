"""The one training loop: steps, epochs, evaluation and callbacks.

It does not depend on digits, files, images or Ray. Subclasses define batches and losses; callbacks
observe, save and stop. A run that is saved after an epoch and loaded continues exactly like one
that never stopped.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from raytune_ocr.config.metrics import known_mode
from raytune_ocr.errors import (
    ConfigurationError,
    DataLoaderError,
    DivergenceError,
    ExperimentFailedError,
    RaytuneOCRError,
)
from raytune_ocr.training.batches import batch_size, inputs_and_targets, set_epoch, to_device
from raytune_ocr.training.callbacks.base import Callback, FunctionCallback, monitored
from raytune_ocr.training.callbacks.checkpoints import Checkpoints
from raytune_ocr.training.callbacks.early_stopping import EarlyStoppingCallback
from raytune_ocr.training.loop_settings import LoopSettings, member
from raytune_ocr.training.losses import loss_of
from raytune_ocr.training.optim.build import set_weight_decay
from raytune_ocr.training.state import TrainingState


class Metrics(Protocol):
    """The interface of a metrics calculator."""

    def reset(self) -> None: ...
    def update(self, predictions: Any, targets: Any) -> None: ...
    def compute(self) -> dict[str, float]: ...


class Trainer(TrainingState):
    """Trains any PyTorch model on any batches.

    Args:
        model: moved to `device`.
        optimizer: over the model's parameters.
        loss_fn: `(outputs, targets) -> loss` or a mapping with "loss"; None when the model
            returns its own loss (Hugging Face). A loss of `torch.nn` is given the `logits` of
            outputs that have some.
        config: anything with the settings of `LoopSettings` under `training`, as attributes or
            keys. `weight_decay` is set for the optimizer's groups, but for those without weight
            decay beside others with it.
        device: a device or its name; default, and auto: CUDA, MPS or CPU, the first there is.
        scheduler: stepped each epoch, or each optimizer step with `scheduler_step_per_batch`.

    Raises:
        ConfigurationError: for a config that `LoopSettings.of` refuses, a device that is not there,
            and a plateau schedule that is to be stepped each optimizer step.
    """

    eval_prefix = "eval"

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss_fn: Callable[..., Any] | None,
        config: Any = None,
        device: torch.device | str | None = None,
        scheduler: Any = None,
    ) -> None:
        settings = LoopSettings.of(config)
        super().__init__(model, optimizer, scheduler, device, settings)
        self.loss_fn = loss_fn
        self.config = config
        self.train_metrics: Metrics | None = None
        self.eval_metrics: Metrics | None = None
        self.plateau_metric: str | None = None

        self.max_grad_norm = settings.max_grad_norm
        self.accumulation_steps = settings.gradient_accumulation_steps
        self.scheduler_step_per_batch = settings.scheduler_step_per_batch
        if self.scheduler_step_per_batch and isinstance(scheduler, ReduceLROnPlateau):
            raise ConfigurationError(
                "config.training.scheduler_step_per_batch: must be false for ReduceLROnPlateau, "
                "which needs a metric of an epoch"
            )
        if settings.weight_decay is not None:
            set_weight_decay(optimizer, settings.weight_decay)

        self.num_epochs = 0  # at which `train` ends
        self.step = 0  # of this epoch, counted from 0
        self._samples = 0  # trained on in this epoch

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
        # Not model.parameters(): walking the modules takes as long as the clipping itself.
        trained = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        if self._pending_steps < self.accumulation_steps:  # the last batches of an epoch
            gathered = [weight.grad for weight in trained if weight.grad is not None]
            torch._foreach_mul_(gathered, self.accumulation_steps / self._pending_steps)
        self._pending_steps = 0
        if self.max_grad_norm > 0:
            self.scaler.unscale_(self.optimizer)
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
        learning_rate = self.learning_rate
        self._samples = 0
        started = time.perf_counter()
        figures = self._train_figures(train_dataloader, epoch)
        seconds = time.perf_counter() - started
        metrics = _prefixed("train", figures)
        if eval_dataloader is not None:
            metrics |= _prefixed(self.eval_prefix, self._eval_figures(eval_dataloader))
        speed = (self._samples or math.nan) / max(seconds, 1e-9)
        metrics |= {"learning_rate": learning_rate, "seconds": seconds, "samples_per_second": speed}
        return metrics

    def _train_figures(self, dataloader: Iterable[Any], epoch: int) -> Mapping[str, float]:
        """Train one epoch; the trainer that owns the loop may override it."""
        return self.train_pass(dataloader, epoch)

    def _eval_figures(self, dataloader: Iterable[Any]) -> Mapping[str, float]:
        """Evaluate; the trainer that owns the loop may override it."""
        return self.evaluate(dataloader)

    def train_pass(self, dataloader: Iterable[Any], epoch: int = 0) -> dict[str, float]:
        """Train on every batch once: means over the samples, by their plain names.

        Raises:
            DataLoaderError: when there is no batch.
        """
        set_epoch(dataloader, epoch)
        self.model.train()
        means = self._pass_over(dataloader, self.train_step, self.train_metrics, training=True)
        if self._pending_steps:
            self._optimizer_step()
        self._samples = means.samples
        return means.figures

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

    def _pass_over(
        self,
        dataloader: Iterable[Any],
        step: Callable[[Any], dict[str, float]],
        calculator: Metrics | None,
        training: bool = False,
    ) -> _Means:
        if calculator is not None:
            calculator.reset()
        watching = [callback for callback in self.callbacks if callback.watches_steps and training]
        means = _Means()
        for index, batch in enumerate(dataloader):
            if training:
                self.step = index
            figures = step(batch)
            means.add(figures, batch_size(batch))
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
        mode: str | None = None,
    ) -> dict[str, list[float]]:
        """Train until `num_epochs` epochs are done in all, or a callback sets `should_stop`.

        Args:
            save_dir: where checkpoints go, every `save_freq` epochs, of the last epoch and of the
                best one.
            best_model_metric: decides which epoch is best. Without evaluation "train_loss" stands
                in for the default.
            early_stopping_patience: epochs without improvement of that metric before stopping.
            callbacks: `Callback`s, or functions `(trainer, epoch, metrics)`, epoch from 0.
            mode: whether that metric is better when higher, "max", or lower, "min"; needed where
                its name does not imply it.

        Returns:
            Lists of every metric, one value an epoch, those before a resume included.
        """
        if not self._resumed:
            self.epoch, self.history, self.should_stop, self.stop_reason = 0, {}, False, ""
        self.num_epochs = num_epochs
        metric = best_model_metric
        if eval_dataloader is None and metric == "eval_loss":
            metric = "train_loss"
        self.callbacks = [_as_callback(callback) for callback in callbacks or []]
        if early_stopping_patience is not None and metric:
            self.callbacks.append(EarlyStoppingCallback(metric, early_stopping_patience, mode=mode))
        if save_dir is not None:
            self.callbacks.append(Checkpoints(save_dir, save_freq, metric, mode))
        self._restore_callbacks()
        self._check_plateau(evaluated=eval_dataloader is not None)

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
        for name in {**self.history, **metrics}:  # one value an epoch, NaN where not measured
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
            name = self._plateau_follows(f"{self.eval_prefix}_loss" in metrics)
            self.scheduler.step(monitored(metrics, name))
        else:
            self.scheduler.step()

    def _plateau_follows(self, evaluated: bool) -> str:
        return self.plateau_metric or (f"{self.eval_prefix}_loss" if evaluated else "train_loss")

    def _check_plateau(self, evaluated: bool) -> None:
        """Raise for a plateau schedule that would take improvement for a plateau."""
        if not isinstance(self.scheduler, ReduceLROnPlateau):
            return
        name, mode = self._plateau_follows(evaluated), self.scheduler.mode
        if known_mode(name) not in ("", mode):
            raise ConfigurationError(
                f"scheduler: ReduceLROnPlateau must have mode={known_mode(name)!r} to follow "
                f"{name}, got {mode!r}; to follow another metric, set plateau_metric of the loop"
            )

    # What a subclass may change

    def _prepare_batch(self, batch: Any) -> tuple[Any, Any]:
        """`(inputs, targets)` on the device."""
        return inputs_and_targets(to_device(batch, self.device), self.model)

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
        loss = outputs if self.loss_fn is None else loss_of(self.loss_fn, outputs, targets)
        if isinstance(loss, Tensor) and self.loss_fn is not None:
            return loss
        found = member(loss, "loss")
        if found is None:
            raise ConfigurationError(
                "loss_fn: must be given, because the model returns no loss"
                if self.loss_fn is None
                else f"loss_fn: must return a tensor or a mapping with 'loss', got {loss!r}"
            )
        return found

    def _update_metrics(self, calculator: Metrics, outputs: Any, targets: Any) -> None:
        """Show a batch's outputs, or their `logits` where they have some, to the calculator."""
        logits = member(outputs, "logits")
        calculator.update(outputs if logits is None else logits, targets)


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


def _prefixed(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    """Figures under `<prefix>_<name>`; names that have the prefix keep it."""
    begins = f"{prefix}_"
    return {n if n.startswith(begins) else begins + n: value for n, value in figures.items()}


def _as_callback(callback: Callback | Callable[..., None]) -> Callback:
    return callback if isinstance(callback, Callback) else FunctionCallback(callback)
