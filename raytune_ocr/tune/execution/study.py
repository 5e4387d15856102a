"""Decide which trial trains next, and what happens after a report.

The Ray executor and the simulator both use this class. It knows trials, a plan and a scheduler, but
not Ray, files or the clock.
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
    """A trial that a decision can stop or pause."""

    def stop(self) -> None:
        """Stop it by a scheduler's decision."""

    def pause(self) -> None:
        """Pause it at a milestone, with its state saved."""


TrialT = TypeVar("TrialT", bound=StudyTrial)


class Executor(Protocol[TrialT]):
    """What a study needs from the code that trains its trials."""

    def keep(self, decisions: Sequence[Decision], trial: TrialT | None = None) -> None:
        """Write decisions to the journal, with the latest report of `trial`."""

    def clone(self, parent: TrialT, decision: Decision) -> TrialT:
        """Make a trial that continues from the parent's state at the decision's epoch."""

    def added(self, trial: TrialT) -> None:
        """Record a new trial."""

    def changed(self, trial: TrialT) -> None:
        """Record a clone, or a trial that was stopped while it did not train."""


class Study(Generic[TrialT]):
    """The trials of a search and the decisions about them.

    Args:
        plan: makes new trials.
        scheduler: decides.
        executor: trains the trials and writes the journal.

    Attributes:
        trials: by name, in the order they were added.
        never_begun: names of trials that the scheduler stopped before their first epoch, which are
            no longer among `trials`.
    """

    def __init__(self, plan: Plan[TrialT], scheduler: Scheduler, executor: Executor[TrialT]):
        self.plan = plan
        self.scheduler = scheduler
        self.executor = executor
        self.trials: dict[str, TrialT] = {}
        self.never_begun: list[str] = []
        self._active: set[str] = set()  # returned by `ask`, neither paused nor ended since

    # A run's beginning

    def add(self, trials: Iterable[TrialT]) -> None:
        """Add trials that are known from the start."""
        self.trials |= {trial.name: trial for trial in trials}

    def replay(self, decisions: Iterable[Decision]) -> None:
        """Apply the decisions of an earlier part of the run.

        Raises:
            ConfigurationError: a decision that the scheduler cannot have made.
        """
        for decision in decisions:
            if decision.scheduler == self.scheduler.name:
                self._take_in(decision)
                self._carry_out(decision)

    def restart(self) -> None:
        """Make running trials pending again."""
        self._active.clear()

    # While trials train

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
        """Add and return a new trial; None: there is none now."""
        trial = None if self.scheduler.is_spent() else self.plan.suggest(self.trials)
        if trial is not None:
            self.trials[trial.name] = trial
            self.executor.added(trial)
        return trial

    def report(self, trial: TrialT) -> str:
        """Decide on a trial that has reported an epoch: CONTINUE, PAUSE or STOP.

        The report and the decision are written together.
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
        """Note that a trial ended without a report, or must start again."""
        self._active.discard(trial.name)
        self.plan.observe(trial)

    @property
    def unfinished(self) -> list[TrialT]:
        """Trials that neither completed, failed nor were stopped."""
        return [trial for trial in self.trials.values() if not trial.is_finished]

    def is_over(self) -> bool:
        """Whether all trials have ended and no new one can be added."""
        if self.unfinished:
            return False
        self.settle()
        return not self.unfinished and self.suggest() is None

    # Decisions

    def settle(self) -> None:
        """Decide on paused trials, which may end all that are left."""
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
                f"{STATE_FILE}: decisions: {decision.scheduler} cannot apply its decision on "
                f"{decision.trial!r} after epoch {decision.epoch}, got state {decision.state}: "
                f"{error!r}; restore the file from a backup, or start a new run"
            ) from error

    def _carry_out(self, decision: Decision) -> None:
        """Carry out a decision; replaying it changes nothing more."""
        if decision.decision == STOP:
            self._stop(decision.trial)
        elif decision.decision == EXPLOIT:
            self._exploit(decision)

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

    def _exploit(self, decision: Decision) -> None:
        parent = self.trials.get(decision.state["parent"])
        if parent is None or decision.state["replaces"] not in self.trials:
            return  # its experiment is left out this time
        self._stop(decision.state["replaces"])
        if not _has_begun(self.trials.get(decision.trial)):
            clone = self.executor.clone(parent, decision)
            self.trials[clone.name] = clone
            self.executor.changed(clone)


def _has_begun(trial: Trial | None) -> bool:
    return trial is not None and (trial.is_finished or bool(trial.curve))
