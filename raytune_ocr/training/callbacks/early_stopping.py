"""Early stopping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raytune_ocr.config.metrics import mode_of
from raytune_ocr.errors import ConfigurationError

if TYPE_CHECKING:
    from raytune_ocr.training.trainer import Trainer
from raytune_ocr.training.callbacks.base import Callback, monitored

EARLY = "early_stopping"  # a reason to stop


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
