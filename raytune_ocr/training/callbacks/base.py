"""The base of callbacks, which observe, save and stop the loop, and keep their state on a resume.

A callback is called `(trainer, epoch, metrics)` after every epoch, epoch counted from 0.
Stopping is a flag: `trainer.should_stop = True`, with the cause in `trainer.stop_reason`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from raytune_ocr.errors import ConfigurationError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor, nn, optim


class TrainingLoop(Protocol):
    """The loop as callbacks see it: its parts, its progress and its stop flag."""

    model: nn.Module
    optimizer: optim.Optimizer
    scheduler: Any
    loss_fn: Callable[..., Any] | None
    max_grad_norm: float
    epoch: int  # finished
    num_epochs: int  # at which training ends
    history: dict[str, list[float]]
    should_stop: bool
    stop_reason: str

    @property
    def evaluated_model(self) -> nn.Module:
        """The evaluated and saved model: the average of the weights, or the model itself."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on."""

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Put `weights` into the model."""

    def _save_checkpoint(self, path: str, epoch: int, metric_value: float | None = None) -> None:
        """Write everything to `path`."""


class Callback:
    """Does nothing; subclasses say when they act."""

    watches_steps = False  # True: on_step_end is called

    @property
    def name(self) -> str:
        """The key of its state in a checkpoint."""
        return type(self).__name__

    def on_train_begin(self, trainer: TrainingLoop) -> None:
        """Before the first epoch of this call of `train`."""

    def on_epoch_begin(self, trainer: TrainingLoop, epoch: int) -> None:
        """Before an epoch, counted from 0; also before the first one after a resume."""

    def on_step_end(self, trainer: TrainingLoop, step: int, figures: Mapping[str, float]) -> None:
        """After each training batch, if `watches_steps`; `step` counts from 0 in the epoch."""

    def on_epoch_end(self, trainer: TrainingLoop, epoch: int, metrics: dict[str, float]) -> None:
        """After training, evaluation and the schedule of an epoch; may add to `metrics`."""

    def on_callback_error(self, trainer: TrainingLoop) -> None:
        """When another callback raised: the epoch is whole, and the error ends the training."""

    def on_train_end(self, trainer: TrainingLoop) -> None:
        """After the last epoch, also when an error ended the training."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resume restores."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict()` gave."""

    def __call__(self, trainer: TrainingLoop, epoch: int, metrics: dict[str, float]) -> None:
        self.on_epoch_end(trainer, epoch, metrics)


class FunctionCallback(Callback):
    """A plain function `(trainer, epoch, metrics)` as a callback of its name."""

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function

    @property
    def name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def on_epoch_end(self, trainer: TrainingLoop, epoch: int, metrics: dict[str, float]) -> None:
        self.function(trainer, epoch, metrics)


def monitored(metrics: Mapping[str, float], name: str) -> float:
    """`metrics[name]`.

    Raises:
        ConfigurationError: when there is no such metric; lists those there are.
    """
    if name not in metrics:
        raise ConfigurationError(f"monitor: {unknown_name('metric', name, metrics)}")
    return metrics[name]
