"""The interface of schedulers, which choose the next trial, its milestone, and trials to stop.

A scheduler gets the reports of trials and returns decisions. It does not know Ray, files or the
clock: the same calls in the same order give the same decisions, on a cluster and in the simulator.

Scores are those of the monitored metric, negated for a loss: higher is better, NaN is the worst.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

from raytune_ocr.results.decision import (
    CONTINUE,
    EXPLOIT,
    PAUSE,
    START,
    STOP,
    Decision,
)
from raytune_ocr.tune.space.domains import Domain

__all__ = [
    "CONTINUE",
    "EXPLOIT",
    "PAUSE",
    "START",
    "STOP",
    "Decision",
    "EarlierTrial",
    "Job",
    "NewTrials",
    "Scheduler",
    "Setup",
    "Trial",
    "Trials",
    "best_score",
    "epochs_of",
    "living",
]


class Trial(Protocol):
    """A trial as schedulers and searchers see it."""

    @property
    def name(self) -> str:
        """Unique in the run."""

    @property
    def search(self) -> str:
        """The searched experiment that it belongs to; "" for a preset."""

    @property
    def sampled(self) -> Mapping[str, Any]:
        """The searched settings, by field."""

    @property
    def max_epochs(self) -> int:
        """The length of a full training."""

    @property
    def curve(self) -> Mapping[int, float]:
        """The score of each epoch, from epoch 1."""

    @property
    def is_finished(self) -> bool:
        """Whether it completed, failed or was stopped."""

    @property
    def failed(self) -> bool:
        """Whether it ended by an error."""

    @property
    def size(self) -> float:
        """The relative cost of an epoch, to start long ones first."""

    def settings_after(self, epoch: int) -> Mapping[str, Any]:
        """Return its settings after `epoch` epochs, by field."""


Trials = Mapping[str, Trial]


class EarlierTrial(NamedTuple):
    """A trial of an earlier study.

    Attributes:
        search: the searched experiment of this run that its settings fit; "" if none.
        sampled: its values of that experiment's domains.
        settings: all its settings, by field.
        curve: the score of each epoch.
        max_epochs: the length of a full training.
    """

    search: str
    sampled: Mapping[str, Any]
    settings: Mapping[str, Any]
    curve: Mapping[int, float]
    max_epochs: int


@dataclass(frozen=True)
class Setup:
    """The settings of a scheduler.

    Attributes:
        grace_period: epochs that every trial gets, >= 1.
        reduction_factor: one trial in `reduction_factor` continues at a rung, >= 2.
        max_epochs: the length of the longest trial.
        max_trials: trials that the run may have; None: without limit.
        num_trials: trials that the search has; None: unknown.
        epoch_budget: epochs that all trials may train together; None: the scheduler's default.
        seed: of all random choices.
        domains: by searched experiment, the domain of each searched field.
        changeable: fields that can change while a trial trains.
        earlier: the trials of each earlier study.
    """

    grace_period: int = 5
    reduction_factor: int = 3
    max_epochs: int = 40
    max_trials: int | None = None
    num_trials: int | None = None
    epoch_budget: int | None = None
    seed: int = 0
    domains: Mapping[str, Mapping[str, Domain]] = field(default_factory=dict)
    changeable: tuple[str, ...] = ()
    earlier: Sequence[Sequence[EarlierTrial]] = ()


class Job(NamedTuple):
    """The trial that trains next.

    Attributes:
        trial: a pending trial, or a new one from `suggest`.
        decision: for the journal; None if `next` depends only on the trials.
    """

    trial: Trial
    decision: Decision | None = None


class NewTrials(Protocol):
    """The source of a scheduler's new trials."""

    def suggest(self) -> Trial | None:
        """Return a new trial; None: there is none now."""


class Scheduler:
    """The base of every scheduler: trains all trials to their ends, in order.

    The order of calls: `next` when a worker is free; `report` after each epoch; `decide` after a
    report or the end of a trial, until it returns no decision. Each decision comes back through
    `apply` once it is in the journal, and again when a run is resumed.
    """

    name: ClassVar[str]
    """Its name in the registry, in the YAML file and in the journal."""
    pauses: ClassVar[bool] = False
    """Whether trials pause at milestones, and other trials may continue from their states."""
    needs_all_trials: ClassVar[bool] = False
    """Whether all trials must be known before the first one reports."""
    changes_settings: ClassVar[bool] = False
    """Whether a new trial continues from another one's state with other settings."""
    compares_trials: ClassVar[bool] = True
    """Whether a trial's score affects other trials."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.rungs: list[int] = []
        """Epochs of a full training at which trials are compared, if they are fixed."""

    def next(self, pending: Trials, trials: Trials, new: NewTrials) -> Job | None:
        """Choose the trial that trains next: the first pending trial, else a new one.

        Args:
            pending: trials that neither train nor are finished, in the order they were added.
            trials: all trials of the search.
            new: makes new trials.

        Returns:
            None if nothing can train before another report.
        """
        trial = next(iter(pending.values()), None) or new.suggest()
        return Job(trial) if trial else None

    def next_milestone(self, trial: Trial) -> int | None:
        """Return the epoch at which a trial pauses; None: it trains to its end."""
        return None

    def report(self, trial: Trial, trials: Trials) -> Decision | None:
        """Decide on a trial that has just reported; None: it trains on to its milestone."""
        return None

    def decide(self, trials: Trials) -> list[Decision]:
        """Decide on paused trials; return nothing while some of a cohort still train."""
        return []

    def apply(self, decision: Decision) -> None:
        """Apply a decision that was just made or read from the journal."""

    def is_spent(self) -> bool:
        """Whether its budget is spent, so that no new trial begins."""
        return False

    def cohort(self, trials: Trials) -> int | None:
        """Return how many trials train in parallel now; None: as many as fit."""
        return None

    def keeps_name(self, name: str) -> bool:
        """Whether the scheduler may give `name` to a trial that it makes."""
        return False

    def check_resume(self, begun: Trials, added: Trials) -> None:
        """Raise ConfigurationError if `added` trials cannot join those that had begun."""

    def _decision(
        self, trial: str, epoch: int, decision: str, state: Mapping[str, Any] | None = None
    ) -> Decision:
        return Decision(self.name, trial, epoch, decision, state or {})


def epochs_of(trial: Trial) -> int:
    """Return how many epochs a trial has trained."""
    return max(trial.curve, default=0)


def best_score(trial: Trial, first: int = 1, last: float = math.inf) -> float:
    """Return the best score of the epochs from `first` to `last`; -inf if there is none."""
    scores = (score for epoch, score in trial.curve.items() if first <= epoch <= last)
    return max((score for score in scores if not math.isnan(score)), default=-math.inf)


def living(trials: Trials, where: Callable[[Trial], bool] = lambda trial: True) -> list[Trial]:
    """Return the unfinished trials for which `where` holds."""
    return [trial for trial in trials.values() if not trial.is_finished and where(trial)]
