"""Decide which trial trains next, and what happens after a report.

The Ray executor and the simulator both use this class. It knows trials, a plan and a scheduler, but
not Ray, files or the clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.decision import CONTINUE, EXPLOIT, ORDER, PAUSE, STOP, Decision
from raytune_ocr.results.journal import STATE_FILE
from raytune_ocr.results.steering.orders import EXTEND, Order
from raytune_ocr.tune.execution.steering.carry_out import OrderExecutor, SteeredTrial, Steering
from raytune_ocr.tune.execution.steering.ordered import Ordered
from raytune_ocr.tune.schedulers.base import Job, Scheduler, Trial, epochs_of
from raytune_ocr.tune.search.plan import Plan

TrialT = TypeVar("TrialT", bound=SteeredTrial)


class Executor(Protocol[TrialT]):
    """What a study needs from the code that trains its trials."""

    def keep(self, decisions: Sequence[Decision], trial: TrialT | None = None) -> None:
        """Write decisions to the journal, with the latest report of `trial`."""

    def clone(self, parent: TrialT, decision: Decision, restored: TrialT | None = None) -> TrialT:
        """Make a trial that continues from the parent's state at the decision's epoch.

        Args:
            restored: the same trial, which a resume restored without its epochs.
        """

    def added(self, trial: TrialT) -> None:
        """Record a new trial."""

    def changed(self, trial: TrialT) -> None:
        """Record a clone, or a trial that was stopped while it did not train."""


class NothingNew:
    """A source of trials without any."""

    def suggest(self) -> None:
        """Return None."""


class Study(Generic[TrialT]):
    """The trials of a search and the decisions about them.

    Args:
        plan: makes new trials.
        scheduler: decides.
        executor: trains the trials and writes the journal.
        order_executor: does what orders of users need; None: there are none.

    Attributes:
        trials: by name, in the order they were added.
        never_begun: names of trials that the scheduler stopped before their first epoch, which are
            no longer among `trials`.
        orders: what orders of users have changed.
        restarting: names of running trials that end their process after the next report, to
            continue with another last epoch.
    """

    def __init__(
        self,
        plan: Plan[TrialT],
        scheduler: Scheduler,
        executor: Executor[TrialT],
        order_executor: OrderExecutor[TrialT] | None = None,
    ) -> None:
        self.plan = plan
        self.scheduler = scheduler
        self.executor = executor
        self.trials: dict[str, TrialT] = {}
        self.never_begun: list[str] = []
        self.orders: Ordered[TrialT] = Ordered()
        self.restarting: set[str] = set()
        self._steering = Steering(self, order_executor)
        self._active: set[str] = set()  # returned by `ask`, neither paused nor ended since
        self._applied: list[Decision] = []  # by the scheduler

    # A run's beginning

    def add(self, trials: Iterable[TrialT]) -> None:
        """Add trials that are known from the start."""
        self.trials |= {trial.name: trial for trial in trials}

    def replay(self, decisions: Iterable[Decision]) -> None:
        """Apply the decisions of an earlier part of the run.

        Raises:
            ConfigurationError: a decision that the scheduler cannot have made.
        """
        decisions = list(decisions)
        # A trial that was stopped and then extended has trained on since.
        extended = {d.trial: n for n, d in enumerate(decisions) if _extends(d)}
        for number, decision in enumerate(decisions):
            if decision.decision == ORDER:
                self._steering.repeat(decision)
            elif decision.scheduler == self.scheduler.name:
                self._take_in(decision)
                ended = decision.state.get("replaces", decision.trial)
                self._carry_out(decision, stops=number > extended.get(ended, -1))

    def restart(self) -> None:
        """Make running trials pending again."""
        self._active.clear()
        self.restarting.clear()

    # While trials train

    def ask(self) -> TrialT | None:
        """Choose the trial that trains next, new ones included; None: none before a report."""
        self.settle()
        pending = {
            name: trial
            for name, trial in self.trials.items()
            if not trial.is_finished and name not in self._active | self.orders.paused
        }
        job = self._next(pending)
        if job is None:
            return None
        trial: Any = job.trial
        if job.decision is not None:
            self.executor.keep([job.decision])
            self._apply(job.decision)
        self._active.add(trial.name)
        return self.trials[trial.name]

    def _next(self, pending: Mapping[str, TrialT]) -> Job | None:
        """Choose among the pending trials of the highest priority: first one that is apart."""
        for level in self.orders.levels(pending):
            here = self.orders.at(level, pending)
            apart = next((t for name, t in here.items() if name in self.orders.apart), None)
            if apart is not None:
                return Job(apart)
            new = NothingNew() if level else self
            job = self.scheduler.next(here, self.orders.seen(self.trials), new)
            if job is not None:
                return job
        return None

    def suggest(self) -> TrialT | None:
        """Add and return a new trial; None: there is none now."""
        known = self.orders.suggested(self.trials)
        trial = None if self.scheduler.is_spent() else self.plan.suggest(known)
        if trial is not None:
            self.trials[trial.name] = trial
            self.executor.added(trial)
        return trial

    def report(self, trial: TrialT) -> str:
        """Decide on a trial that has reported an epoch: CONTINUE, PAUSE or STOP.

        The report and the decision are written together.
        """
        decision = None
        if trial.name not in self.orders.apart:
            self.plan.observe(trial)
            decision = self.scheduler.report(trial, self.orders.seen(self.trials))
        action = decision.decision if decision else CONTINUE
        if action == STOP and not trial.is_finished:
            trial.stop()
        elif not trial.is_finished and self.is_at_milestone(trial):
            action = PAUSE
            trial.pause()
        elif not trial.is_finished and trial.name in self.restarting:
            action = PAUSE
            trial.retry()
        if trial.is_finished or action == PAUSE:
            self._active.discard(trial.name)
            self.restarting.discard(trial.name)
        self.executor.keep([decision] if decision else [], trial)
        if decision:
            self._apply(decision)
        return action

    def end(self, trial: TrialT) -> None:
        """Note that a trial ended without a report, or must start again."""
        self._active.discard(trial.name)
        self.restarting.discard(trial.name)
        if trial.name not in self.orders.apart:
            self.plan.observe(trial)

    @property
    def unfinished(self) -> list[TrialT]:
        """Trials that neither completed, failed nor were stopped."""
        return [trial for trial in self.trials.values() if not trial.is_finished]

    @property
    def waits_for_orders(self) -> bool:
        """Whether an order paused an unfinished trial, which another one may resume."""
        return any(trial.name in self.orders.paused for trial in self.unfinished)

    def cohort(self) -> int | None:
        """Return how many trials train in parallel now; None: as many as fit."""
        return self.scheduler.cohort(self.orders.seen(self.trials))

    def is_over(self) -> bool:
        """Whether all trials have ended and no new one can be added."""
        if self.unfinished:
            return False
        self.settle()
        return not self.unfinished and self.suggest() is None

    # Decisions

    def settle(self) -> None:
        """Decide on paused trials, which may end all that are left."""
        while decisions := self.scheduler.decide(self.orders.seen(self.trials)):
            self.executor.keep(decisions)
            for decision in decisions:
                self._apply(decision)
                self._carry_out(decision)

    def _apply(self, decision: Decision) -> None:
        self.scheduler.apply(decision)
        self._applied.append(decision)

    def is_at_milestone(self, trial: TrialT) -> bool:
        """Whether it has trained as far as the scheduler wants for now."""
        if trial.name in self.orders.apart:
            return False
        milestone = self.scheduler.next_milestone(trial)
        return milestone is not None and epochs_of(trial) >= milestone

    def _take_in(self, decision: Decision) -> None:
        try:
            self._apply(decision)
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise ConfigurationError(
                f"{STATE_FILE}: decisions: {decision.scheduler} cannot apply its decision on "
                f"{decision.trial!r} after epoch {decision.epoch}, got state {decision.state}: "
                f"{error!r}; restore the file from a backup, or start a new run"
            ) from error

    def _carry_out(self, decision: Decision, stops: bool = True) -> None:
        """Carry out a decision; replaying it changes nothing more.

        Args:
            stops: whether the trial that it ends stays ended; an order may have extended it since.
        """
        if decision.decision == STOP and stops:
            self._stop(decision.trial)
        elif decision.decision == EXPLOIT:
            self._exploit(decision, stops)

    def _stop(self, name: str) -> None:
        trial = self.trials.get(name)  # None if its experiment is left out this time
        if trial is None or trial.is_finished:
            return
        self._active.discard(name)
        if not trial.curve:  # it never trained: no result of the search
            del self.trials[name]
            self.never_begun.append(name)
            return
        trial.stop()
        self.executor.changed(trial)

    def _exploit(self, decision: Decision, stops: bool) -> None:
        parent = self.trials.get(decision.state["parent"])
        if parent is None or decision.state["replaces"] not in self.trials:
            return  # its experiment is left out this time
        if stops:
            self._stop(decision.state["replaces"])
        restored = self.trials.get(decision.trial)
        if not _has_begun(restored):
            clone = self.executor.clone(parent, decision, restored)
            self.trials[clone.name] = clone
            self.executor.changed(clone)

    # Orders

    def order(self, order: Order) -> str:
        """Carry out an order of a user; return what happens, in words.

        Raises:
            ConfigurationError: it is refused, and nothing has changed.
        """
        return self._steering.carry_out(order)

    def release(self, trial: TrialT) -> None:
        """Take a trial from its worker, which may train another one."""
        self._active.discard(trial.name)
        self.restarting.discard(trial.name)

    def is_active(self, trial: TrialT) -> bool:
        """Whether a worker has it."""
        return trial.name in self._active

    def set_epoch_budget(self, epochs: int) -> None:
        """Make the scheduler anew with another budget, as if it had always had it."""
        setup = replace(self.scheduler.setup, epoch_budget=epochs)
        self.scheduler = type(self.scheduler)(setup)
        for decision in self._applied:
            self.scheduler.apply(decision)


def _extends(decision: Decision) -> bool:
    return decision.decision == ORDER and decision.state.get("action") == EXTEND


def _has_begun(trial: Trial | None) -> bool:
    return trial is not None and (trial.is_finished or bool(trial.curve))
