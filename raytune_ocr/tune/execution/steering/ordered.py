"""What orders have changed about the trials of a study: who waits, who comes first, who is apart.

Trials apart train to their ends by an order alone. The scheduler and the searcher see these
trials as they were when the order came, so a scheduler needs no line for orders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from raytune_ocr.errors import ConfigurationError, unknown_name
from raytune_ocr.results.steering.orders import Order
from raytune_ocr.tune.schedulers.base import Trial, Trials, epochs_of

CONTINUABLE = ("max_epochs", "scheduler", "user")
"""Stop reasons of trials that can be extended: others would end again at once."""

TrialT = TypeVar("TrialT", bound=Trial)


class AsOf:
    """A finished trial with its epochs up to one.

    Args:
        trial: the trial, which trains on.
        epoch: the last epoch that is seen.
    """

    is_finished = True
    failed = False

    def __init__(self, trial: Trial, epoch: int) -> None:
        self._trial = trial
        self.curve = {e: score for e, score in trial.curve.items() if e <= epoch}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)


class Ordered(Generic[TrialT]):
    """The effect of all orders so far.

    Attributes:
        paused: names of the trials that wait for an order to resume them.
        priorities: of trials that wait for resources, by name; 0 for all others.
        apart: by name, how the scheduler and the searcher see a trial apart; None: not at all.
        withdrawn: trials that were stopped before their first epoch, by name.
    """

    def __init__(self) -> None:
        self.paused: set[str] = set()
        self.priorities: dict[str, int] = {}
        self.apart: dict[str, Trial | None] = {}
        self.withdrawn: dict[str, TrialT] = {}

    def seen(self, trials: Mapping[str, TrialT]) -> Trials:
        """Return the trials as the scheduler sees them."""
        if not self.apart:
            return trials
        seen = {name: self.apart.get(name, trial) for name, trial in trials.items()}
        return {name: trial for name, trial in seen.items() if trial is not None}

    def suggested(self, trials: Mapping[str, TrialT]) -> Trials:
        """Return the trials as a searcher sees them: withdrawn ones count, and are not replaced."""
        ended = {name: AsOf(trial, 0) for name, trial in self.withdrawn.items()}
        return {**self.seen(trials), **ended} if ended else self.seen(trials)

    def levels(self, names: Iterable[str]) -> list[int]:
        """Return the priorities among some trials, the highest first; 0 is always among them."""
        return sorted({0, *(self.priorities.get(name, 0) for name in names)}, reverse=True)

    def at(self, level: int, trials: Mapping[str, TrialT]) -> dict[str, TrialT]:
        """Return the trials of a priority."""
        return {n: t for n, t in trials.items() if self.priorities.get(n, 0) == level}


def named(order: Order, trials: Mapping[str, TrialT]) -> TrialT:
    """Return the trial of an order; raise ConfigurationError if there is none."""
    if order.trial is None or order.trial not in trials:
        raise ConfigurationError(f"{order.action}: {unknown_name('trial', order.trial, trials)}")
    return trials[order.trial]


def unfinished(order: Order, trials: Mapping[str, TrialT]) -> TrialT:
    """Return the trial of an order; raise ConfigurationError if it has finished."""
    trial = named(order, trials)
    if trial.is_finished:
        raise ConfigurationError(
            f"{order.action}: {trial.name} has already finished, after epoch {epochs_of(trial)}"
        )
    return trial


def extendable(order: Order, trials: Mapping[str, TrialT]) -> TrialT:
    """Return the trial of an order to extend it; raise ConfigurationError if that cannot be."""
    trial, epochs = named(order, trials), order.arguments["epochs"]
    done, reason = epochs_of(trial), getattr(trial, "stop_reason", "max_epochs")
    if trial.is_finished and (trial.failed or reason not in CONTINUABLE):
        raise ConfigurationError(
            f"extend: {trial.name} ended after epoch {done} by {reason or 'an error'} and cannot "
            "train on; clone it with other settings"
        )
    if epochs <= done:
        raise ConfigurationError(
            f"extend: epochs: must be above {done}, which {trial.name} has trained, got {epochs}"
        )
    if not trial.is_finished and epochs <= trial.max_epochs:
        raise ConfigurationError(
            f"extend: epochs: must be above {trial.max_epochs}, to which {trial.name} trains "
            f"anyway, got {epochs}"
        )
    return trial
