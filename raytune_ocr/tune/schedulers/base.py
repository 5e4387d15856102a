"""The scheduler seam: which trial trains next, until which epoch, and which trials stop.

A scheduler is told what trials have reported and answers with decisions. It knows nothing of Ray,
files or the clock: the same calls in the same order give the same decisions, whether trials train
on a cluster or are replayed by the simulator.

Scores are of the monitored metric, higher is better whatever the metric; NaN is the worst.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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
    """What schedulers and searchers see of a trial."""

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
        """All settings that it trains with after that many epochs, by field."""


Trials = Mapping[str, Trial]


@dataclass(frozen=True)
class Setup:
    """What a scheduler is built from.

    Attributes:
        grace_period: epochs that every trial gets, >= 1.
        reduction_factor: one trial in so many goes on at a rung, >= 2.
        max_epochs: the length of the longest trial.
        max_trials: trials that the run may have; None: without limit.
        num_trials: trials that the search has; None: not known.
        epoch_budget: epochs that all trials may train together; None: the scheduler's default.
        seed: of all that is random.
        domains: by searched experiment, the domain of each searched field.
        changeable: fields that can change while a trial trains.
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


class Job(NamedTuple):
    """What trains next.

    Attributes:
        trial: the trial, one that the scheduler was shown or one that `suggest` made.
        decision: for the journal; None where `next` depends on nothing but the trials.
    """

    trial: Trial
    decision: Decision | None = None


class NewTrials(Protocol):
    """Where a scheduler gets new trials from."""

    def suggest(self) -> Trial | None:
        """A new trial; None: there is none now."""


class Scheduler:
    """The base of every scheduler: trains all trials to their ends, in order.

    The order of calls: `next` whenever there is room for a trial; `report` after each epoch;
    `decide` after a report or the end of a trial, until it has nothing to say. Each decision is
    given back through `apply` once it is in the journal, and again when a run is resumed.
    """

    name: ClassVar[str]
    """Its name in the registry, in the YAML file and in the journal."""
    pauses: ClassVar[bool] = False
    """Whether trials pause at milestones, and others may go on from their states."""
    needs_all_trials: ClassVar[bool] = False
    """Whether all trials must be known before the first one reports."""
    changes_settings: ClassVar[bool] = False
    """Whether a new trial continues from another one's state with other settings."""
    compares_trials: ClassVar[bool] = True
    """Whether a trial's score decides what becomes of another one."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.rungs: list[int] = []
        """Epochs of a full training at which trials are compared, where that is known."""

    def next(self, pending: Trials, trials: Trials, new: NewTrials) -> Job | None:
        """Choose what trains next: the first pending trial, else a new one.

        Args:
            pending: trials that neither train nor are finished, in the order they were added.
            trials: all trials of the search.
            new: makes another one.

        Returns:
            None where nothing can train before another report.
        """
        trial = next(iter(pending.values()), None) or new.suggest()
        return Job(trial) if trial else None

    def next_milestone(self, trial: Trial) -> int | None:
        """The epoch at which a trial pauses; None: it trains to its end."""
        return None

    def report(self, trial: Trial, trials: Trials) -> Decision | None:
        """Decide on a trial that has just reported; None: it trains on to its milestone."""
        return None

    def decide(self, trials: Trials) -> list[Decision]:
        """Decide on trials that wait for each other; nothing while some are on their way."""
        return []

    def apply(self, decision: Decision) -> None:
        """Take in a decision, one just made or one of the journal."""

    def is_spent(self) -> bool:
        """Whether its budget is spent, so that no new trial begins."""
        return False

    def cohort(self, trials: Trials) -> int | None:
        """How many trials train side by side now; None: as many as there is room for."""
        return None

    def check_resume(self, begun: Trials, added: Trials) -> None:
        """Raises ConfigurationError where `added` trials cannot join those that had begun."""

    def _decision(
        self, trial: str, epoch: int, decision: str, state: Mapping[str, Any] | None = None
    ) -> Decision:
        return Decision(self.name, trial, epoch, decision, state or {})


def epochs_of(trial: Trial) -> int:
    """How many epochs a trial has trained."""
    return max(trial.curve, default=0)


def best_score(trial: Trial, first: int = 1, last: float = math.inf) -> float:
    """The best score of the epochs from `first` to `last`; -inf where there is none."""
    scores = (score for epoch, score in trial.curve.items() if first <= epoch <= last)
    return max((score for score in scores if not math.isnan(score)), default=-math.inf)


def living(trials: Trials, where: Callable[[Trial], bool] = lambda trial: True) -> list[Trial]:
    """The trials that are not finished, and for which `where` holds."""
    return [trial for trial in trials.values() if not trial.is_finished and where(trial)]
