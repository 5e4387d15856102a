"""Run schedulers and searchers on recorded learning curves, in virtual time.

The same study decides as on Ray; training is replaced by reading the next epoch of a curve.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.decision import CONTINUE, ORDER, Decision
from raytune_ocr.results.steering.orders import ADD, CLONE, EXTEND, Order, order_of
from raytune_ocr.tune.execution.study import Study
from raytune_ocr.tune.schedulers.base import Scheduler, epochs_of
from raytune_ocr.tune.search.plan import Plan
from raytune_ocr.tune.space.experiment import Experiment, Point

FINISHED = ("completed", "stopped", "failed")


@dataclass
class SimulatedTrial:
    """A trial with a recorded curve.

    Attributes:
        recorded: the score of each epoch of a full training, higher is better, NaN is worst.
        seconds: virtual time of an epoch.
        fails_after: the epoch after which it fails; None: never.
        last: the last epoch, if it differs from that of `recorded`; the last score is repeated.
    """

    name: str
    recorded: Sequence[float]
    search: str = ""
    sampled: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 1.0
    fails_after: int | None = None
    last: int | None = None
    status: str = "pending"
    curve: dict[int, float] = field(default_factory=dict)
    starts: int = 0

    @property
    def max_epochs(self) -> int:
        """The length of a full training."""
        return len(self.recorded) if self.last is None else self.last

    def score(self, epoch: int) -> float:
        """Return the score of an epoch."""
        return self.recorded[min(epoch, len(self.recorded)) - 1]

    @property
    def is_finished(self) -> bool:
        """Whether it completed, failed or was stopped."""
        return self.status in FINISHED

    @property
    def failed(self) -> bool:
        """Whether it ended by an error."""
        return self.status == "failed"

    @property
    def size(self) -> float:
        """The relative cost of an epoch."""
        return self.seconds

    def settings_after(self, epoch: int) -> Mapping[str, Any]:
        """Return all its settings, by field."""
        return self.settings

    def stop(self, reason: str = "scheduler") -> None:
        """Stop it by a decision of the scheduler or the user."""
        self.status = "stopped"

    def pause(self) -> None:
        """Pause it at a milestone or by an order."""
        self.status = "paused"

    def retry(self) -> None:
        """Make it pending again."""
        self.status = "pending"


@dataclass(frozen=True)
class Report:
    """One epoch of the simulation.

    Attributes:
        time: virtual time of the report.
        action: the decision on it.
    """

    time: float
    trial: str
    epoch: int
    score: float
    action: str


Make = Callable[[Experiment, Point], SimulatedTrial]
MakeOrdered = Callable[[Order, "SimulatedTrial | None"], SimulatedTrial]


class Simulator:
    """Trains simulated trials on a number of workers.

    Args:
        plan: makes trials.
        scheduler: decides.
        workers: trials that train in parallel.
        start_cost: virtual time from the choice of a trial to its first epoch, at each start and
            each continuation.
        journal: entries of an earlier simulation to resume.
        make_ordered: makes the trial of an order to add one, or to clone the given one.

    Attributes:
        journal: everything that a resume needs, in order.
        reports: the trained epochs, in order.
        limits: that orders have set.
    """

    def __init__(
        self,
        plan: Plan[SimulatedTrial],
        scheduler: Scheduler,
        workers: int = 1,
        start_cost: float = 0.0,
        journal: Sequence[SimulatedEntry] = (),
        make_ordered: MakeOrdered | None = None,
    ) -> None:
        self.study: Study[SimulatedTrial] = Study(plan, scheduler, self, self)
        self.workers = workers
        self.start_cost = start_cost
        self.make_ordered = make_ordered
        self.limits: dict[str, Any] = {}
        self.journal: list[SimulatedEntry] = list(journal)
        self.reports: list[Report] = []
        self._time = 0.0
        self._queue: list[tuple[float, int, str]] = []  # when each worker reports next
        self._order = itertools.count()
        self._resume(journal)

    # The study's `Executor`

    def keep(self, decisions: Sequence[Decision], trial: SimulatedTrial | None = None) -> None:
        """Add an entry to the journal."""
        entry = None if trial is None else entry_of(trial)
        self.journal.append(SimulatedEntry(tuple(decisions), entry))

    def added(self, trial: SimulatedTrial) -> None:
        """Record a new trial."""
        self.journal.append(SimulatedEntry((), entry_of(trial)))

    def changed(self, trial: SimulatedTrial) -> None:
        """Record a clone, or a trial that was stopped."""
        self.journal.append(SimulatedEntry((), entry_of(trial)))

    def clone(
        self,
        parent: SimulatedTrial,
        decision: Decision,
        restored: SimulatedTrial | None = None,
    ) -> SimulatedTrial:
        """Make a trial with the parent's epochs up to the decision, and its curve after that."""
        settings = {**parent.settings, **decision.state["settings"]}
        shared = {e: s for e, s in parent.curve.items() if e <= decision.epoch}
        return SimulatedTrial(
            decision.trial,
            parent.recorded,
            search=parent.search,
            sampled=parent.sampled,
            settings=settings,
            seconds=parent.seconds,
            curve=shared,
        )

    def ordered(self, entry: Decision, trial: SimulatedTrial | None = None) -> None:
        """Add an order to the journal."""
        self.keep([entry], trial)

    def make(self, order: Order, parent: SimulatedTrial | None) -> SimulatedTrial:
        """Make the trial of an order."""
        if self.make_ordered is None:
            raise ConfigurationError(f"{order.action}: this simulation makes no such trials")
        return self.make_ordered(order, parent)

    def extend(self, trial: SimulatedTrial, epochs: int) -> None:
        """Set a trial's last epoch."""
        trial.last = epochs

    def release(self, trial: SimulatedTrial) -> None:
        """Free a trial's worker."""
        self._queue = [each for each in self._queue if each[2] != trial.name]
        heapq.heapify(self._queue)

    def limit(self, limits: Mapping[str, Any], was: Mapping[str, Any] | None = None) -> Any:
        """Remember limits; a simulation costs nothing."""
        self.limits |= limits
        return {}

    def end_run(self) -> None:
        """Do nothing: the caller calls `run` no more."""

    # Time

    def run(self, epochs: float = math.inf, until: float = math.inf) -> list[Report]:
        """Train until `epochs` are done in all, until the time `until`, or to the end."""
        while len(self.reports) < epochs and (self._fill() or self._queue):
            if self._queue[0][0] > until:
                break
            self._step()
        return self.reports

    def start(self, trial: SimulatedTrial) -> None:
        """Start or continue a trial on a worker."""
        trial.status, trial.starts = "running", trial.starts + 1
        self._push(trial, self.start_cost + trial.seconds)

    def _resume(self, journal: Sequence[SimulatedEntry]) -> None:
        """Load the journal of an earlier simulation."""
        study = self.study
        states = {entry.trial.name: entry.trial for entry in journal if entry.trial}
        decisions = [decision for entry in journal for decision in entry.decisions]
        study.add(study.plan.initial(states))
        study.add(study.plan.restored({s.name: (s.search, s.sampled) for s in states.values()}))
        for decision in decisions:
            if decision.decision == ORDER:
                self._restore_ordered(order_of(decision))
            elif parent := study.trials.get(decision.state.get("parent", "")):
                clone = self.clone(parent, decision)
                study.add([replace(clone, curve={})])
        for name, state in states.items():
            trial = study.trials[name]
            trial.curve = dict(state.curve)
            trial.status = state.status if state.status in FINISHED else "pending"
        study.replay(decisions)

    def _restore_ordered(self, order: Order) -> None:
        """Add or extend a trial as an order of the earlier simulation did."""
        trials = self.study.trials
        if order.action in (ADD, CLONE):
            self.study.add([self.make(order, trials.get(order.trial or ""))])
        elif order.action == EXTEND:
            self.extend(trials[str(order.trial)], order.arguments["epochs"])

    def _fill(self) -> bool:
        """Give each free worker a trial; return whether any got one."""
        began = False
        while len(self._queue) < self.workers and (trial := self.study.ask()) is not None:
            self.start(trial)
            began = True
        return began

    def _push(self, trial: SimulatedTrial, after: float) -> None:
        heapq.heappush(self._queue, (self._time + after, next(self._order), trial.name))

    def _step(self) -> None:
        """Report the next epoch; its worker trains on or becomes free."""
        self._time, _, name = heapq.heappop(self._queue)
        trial = self.study.trials[name]
        if trial.is_finished:  # it was stopped while it trained
            return
        epoch = epochs_of(trial) + 1
        trial.curve[epoch] = trial.score(epoch)
        if trial.fails_after == epoch:
            trial.status = "failed"
        elif epoch == trial.max_epochs:
            trial.status = "completed"
        action = self.study.report(trial)
        self.reports.append(Report(self._time, name, epoch, trial.curve[epoch], action))
        if action == CONTINUE and not trial.is_finished:
            self._push(trial, trial.seconds)


@dataclass(frozen=True)
class TrialEntry:
    """A trial in the journal of a simulation."""

    name: str
    search: str
    sampled: Mapping[str, Any]
    status: str
    curve: Mapping[int, float]


@dataclass(frozen=True)
class SimulatedEntry:
    """A line of the journal: decisions, and the reporting trial."""

    decisions: tuple[Decision, ...] = ()
    trial: TrialEntry | None = None


def entry_of(trial: SimulatedTrial) -> TrialEntry:
    """Return the journal's entry of a trial."""
    return TrialEntry(
        trial.name, trial.search, dict(trial.sampled), trial.status, dict(trial.curve)
    )
