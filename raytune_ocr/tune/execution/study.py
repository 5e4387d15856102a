"""The decisions of a search: which trial trains next, and what happens after a report.

One core for two executors: Ray's, and the simulator's. It knows trials, a plan and a scheduler, and
nothing of Ray, files or the clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.decision import CONTINUE, EXPLOIT, PAUSE, STOP, Decision
from raytune_ocr.results.journal import STATE_FILE
from raytune_ocr.tune.schedulers.base import Scheduler, Trial, epochs_of
from raytune_ocr.tune.search.plan import Plan


class StudyTrial(Trial, Protocol):
    """A trial that can be told what was decided."""

    def stop(self) -> None:
        """The scheduler ends it."""

    def pause(self) -> None:
        """It waits at a milestone, with its state saved."""


TrialT = TypeVar("TrialT", bound=StudyTrial)


class Executor(Protocol[TrialT]):
    """What a study needs of whoever trains the trials."""

    def keep(self, decisions: Sequence[Decision], trial: TrialT | None = None) -> None:
        """Write decisions to the journal, with what `trial` has just reported."""

    def clone(self, parent: TrialT, decision: Decision) -> TrialT:
        """A trial that goes on from the parent's state of the decision's epoch."""

    def added(self, trial: TrialT) -> None:
        """A new trial was suggested."""

    def changed(self, trial: TrialT) -> None:
        """A clone was made, or a trial was stopped while it did not train."""


class Study(Generic[TrialT]):
    """The trials of a search and what is decided on them.

    Args:
        plan: where new trials come from.
        scheduler: what decides.
        executor: who trains the trials and keeps the journal.

    Attributes:
        trials: by name, in the order they were added.
    """

    def __init__(self, plan: Plan[TrialT], scheduler: Scheduler, executor: Executor[TrialT]):
        self.plan = plan
        self.scheduler = scheduler
        self.executor = executor
        self.trials: dict[str, TrialT] = {}
        self._active: set[str] = set()  # given out by `ask`, neither paused nor ended since

    # A run's beginning

    def add(self, trials: Iterable[TrialT]) -> None:
        """Add trials that are known from the start."""
        self.trials |= {trial.name: trial for trial in trials}

    def replay(self, decisions: Iterable[Decision]) -> None:
        """Take up what an earlier part of the run decided.

        Raises:
            ConfigurationError: a decision that the scheduler cannot have made.
        """
        for decision in decisions:
            if decision.scheduler == self.scheduler.name:
                self._take_in(decision)
                self._carry_out(decision)

    def restart(self) -> None:
        """Nothing trains any more: trials that did are pending again."""
        self._active.clear()

    # While it goes on

    def ask(self) -> TrialT | None:
        """Choose the trial that trains next, new ones included; None: none before a report."""
        self.settle()
        pending = {
            name: trial
            for name, trial in self.trials.items()
            if not trial.is_finished and name not in self._active
        }
        job = self.scheduler.next(pending, self.trials, self)
        if job is None:
            return None
        trial: Any = job.trial
        if job.decision is not None:
            self.executor.keep([job.decision])
            self.scheduler.apply(job.decision)
        self._active.add(trial.name)
        return self.trials[trial.name]

    def suggest(self) -> TrialT | None:
        """Add a new trial; None: there is none now."""
        trial = None if self.scheduler.is_spent() else self.plan.suggest(self.trials)
        if trial is not None:
            self.trials[trial.name] = trial
            self.executor.added(trial)
        return trial

    def report(self, trial: TrialT) -> str:
        """Decide on a trial that has reported an epoch: CONTINUE, PAUSE or STOP.

        The report and what was decided on it are kept together.
        """
        self.plan.observe(trial)
        decision = self.scheduler.report(trial, self.trials)
        action = decision.decision if decision else CONTINUE
        if action == STOP and not trial.is_finished:
            trial.stop()
        elif not trial.is_finished and self._is_at_milestone(trial):
            action = PAUSE
            trial.pause()
        if trial.is_finished or action == PAUSE:
            self._active.discard(trial.name)
        self.executor.keep([decision] if decision else [], trial)
        if decision:
            self.scheduler.apply(decision)
        return action

    def end(self, trial: TrialT) -> None:
        """A trial ended without a report, or has to be started again."""
        self._active.discard(trial.name)
        self.plan.observe(trial)

    @property
    def unfinished(self) -> list[TrialT]:
        """Trials that neither completed, failed nor were stopped."""
        return [trial for trial in self.trials.values() if not trial.is_finished]

    def is_over(self) -> bool:
        """Whether all trials have ended and there are no more; a new one is added if there is."""
        if self.unfinished:
            return False
        self.settle()
        return not self.unfinished and self.suggest() is None

    # Decisions

    def settle(self) -> None:
        """Decide on trials that wait for each other, which may end all that are left."""
        while decisions := self.scheduler.decide(self.trials):
            self.executor.keep(decisions)
            for decision in decisions:
                self.scheduler.apply(decision)
                self._carry_out(decision)

    def _is_at_milestone(self, trial: TrialT) -> bool:
        milestone = self.scheduler.next_milestone(trial)
        return milestone is not None and epochs_of(trial) >= milestone

    def _take_in(self, decision: Decision) -> None:
        try:
            self.scheduler.apply(decision)
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise ConfigurationError(
                f"{STATE_FILE}: decisions: {decision.scheduler} cannot take in what it decided on "
                f"{decision.trial!r} after epoch {decision.epoch}, got state {decision.state}: "
                f"{error!r}; put the file back from a copy, or begin another run"
            ) from error

    def _carry_out(self, decision: Decision) -> None:
        """Do what was decided; once, however often it is replayed."""
        if decision.decision == STOP:
            self._stop(decision.trial)
        elif decision.decision == EXPLOIT:
            self._exploit(decision)

    def _stop(self, name: str) -> None:
        trial = self.trials.get(name)  # none of an experiment that is left out this time
        if trial is not None and not trial.is_finished:
            trial.stop()
            self._active.discard(name)
            self.executor.changed(trial)

    def _exploit(self, decision: Decision) -> None:
        parent = self.trials.get(decision.state["parent"])
        if parent is None or decision.state["replaces"] not in self.trials:
            return  # of an experiment that is left out this time
        self._stop(decision.state["replaces"])
        if not _has_begun(self.trials.get(decision.trial)):
            clone = self.executor.clone(parent, decision)
            self.trials[clone.name] = clone
            self.executor.changed(clone)


def _has_begun(trial: Trial | None) -> bool:
    return trial is not None and (trial.is_finished or bool(trial.curve))
