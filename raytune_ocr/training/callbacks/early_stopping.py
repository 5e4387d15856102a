"""Early stopping."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raytune_ocr.config.metrics import MODES, mode_of, score_of
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.training.callbacks.base import Callback, TrainingLoop, monitored

if TYPE_CHECKING:
    from torch import nn

EARLY = "early_stopping"  # a reason to stop


class EarlyStopping:
    """Detects that a score has not improved for `patience` epochs. NaN is never the best.

    Args:
        patience: epochs without improvement before stopping; 0 never stops.
        min_delta: the least change that is an improvement.
        mode: "min" for a loss, "max" for an accuracy.
        restore_best_weights: whether a model that is shown with each score has the weights of the
            best epoch again once it is time to stop.

    Attributes:
        history: `(epoch, score)` of every call since `reset`.
    """

    def __init__(
        self,
        patience: int = 10,
        min_delta: float = 1e-4,
        mode: str = "min",
        restore_best_weights: bool = True,
    ) -> None:
        if mode not in MODES:
            raise ConfigurationError(f"mode: must be one of {', '.join(MODES)}, got {mode!r}")
        self.patience = patience
        self.min_delta = min_delta
        self.mode = mode
        self.restore_best_weights = restore_best_weights
        self.reset()

    def reset(self) -> None:
        """Forget all scores."""
        self.should_stop = False
        self.best_score = score_of(-math.inf, self.mode)
        self.best_epoch = -1
        self.waited = 0
        self.history: list[tuple[int, float]] = []
        self.best_weights: dict[str, Any] = {}

    def __call__(self, score: float, epoch: int, model: nn.Module | None = None) -> bool:
        """Add the score of `epoch`; True when it is time to stop.

        Args:
            model: the one with that score; see `restore_best_weights`.
        """
        self.history.append((epoch, score))
        if score_of(score, self.mode) - score_of(self.best_score, self.mode) > self.min_delta:
            self.best_score, self.best_epoch, self.waited = score, epoch, 0
            if model is not None and self.restore_best_weights:
                self.best_weights = copy.deepcopy(model.state_dict())
        else:
            self.waited += 1
            self.should_stop = 0 < self.patience <= self.waited
            if model is not None and self.should_stop and self.best_weights:
                model.load_state_dict(self.best_weights)
        return self.should_stop

    def state_dict(self) -> dict[str, Any]:
        """Scores, the best one with its epoch and weights, and the epochs waited since."""
        names = ("should_stop", "best_score", "best_epoch", "waited", "history", "best_weights")
        return {name: copy.copy(getattr(self, name)) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict()` gave; earlier versions had no history."""
        for name in self.state_dict():
            if name in state:
                setattr(self, name, copy.copy(state[name]))


class EarlyStoppingCallback(Callback):
    """Stops the loop when `monitor` no longer improves.

    Args:
        mode: "min" or "max" if the metric's name does not imply it.
    """

    def __init__(
        self,
        monitor: str,
        patience: int,
        min_delta: float = 0.0,
        mode: str | None = None,
    ) -> None:
        self.monitor = monitor
        # The loop's own callbacks keep the best weights: on disk, or `BestWeights`.
        self.stopping = EarlyStopping(
            patience, min_delta, mode_of(monitor, mode), restore_best_weights=False
        )
        self._of_another = False  # what was loaded

    def on_train_begin(self, trainer: TrainingLoop) -> None:
        stopping = self.stopping
        if self._of_another:
            self._of_another = False
            for epoch, score in enumerate(trainer.history.get(self.monitor, [])):
                stopping(score, epoch)
            stopping.should_stop = trainer.stop_reason == EARLY
        if stopping.should_stop and not 0 < stopping.patience <= stopping.waited:
            stopping.should_stop = False  # resumed with more patience
            if trainer.stop_reason == EARLY:
                trainer.should_stop, trainer.stop_reason = False, ""

    def on_epoch_end(self, trainer: TrainingLoop, epoch: int, metrics: dict[str, float]) -> None:
        if self.stopping(monitored(metrics, self.monitor), epoch):
            trainer.should_stop = True
            trainer.stop_reason = EARLY

    @property
    def _follows(self) -> dict[str, str]:
        return {"monitor": self.monitor, "mode": self.stopping.mode}

    def state_dict(self) -> dict[str, Any]:
        return {**self.stopping.state_dict(), **self._follows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()`; that of another monitor or mode is rebuilt from the history."""
        if {name: state.get(name) for name in self._follows} == self._follows:
            self.stopping.load_state_dict(state)
        else:
            self._of_another = True
