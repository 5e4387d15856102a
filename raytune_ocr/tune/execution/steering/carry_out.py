"""Carry out the orders of users on the trials of a study, and repeat them when a run is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.decision import Decision
from raytune_ocr.results.steering.orders import (
    ADD,
    ANNOTATIONS,
    BUDGET,
    CLONE,
    EXTEND,
    PAUSE_TRIAL,
    PRIORITY,
    RESUME,
    STOP_TRIAL,
    USER,
    Order,
    entry_of,
    order_of,
)
from raytune_ocr.tune.execution.steering.ordered import (
    AsOf,
    Ordered,
    extendable,
    named,
    unfinished,
)
from raytune_ocr.tune.schedulers.base import Scheduler, Trial, epochs_of


class SteeredTrial(Trial, Protocol):
    """A trial that an order can stop, pause or continue."""

    def stop(self, reason: str = "scheduler") -> None:
        """Stop it by a decision of the scheduler or the user."""

    def pause(self) -> None:
        """Pause it, with its state saved."""

    def retry(self) -> None:
        """Make it pending again."""


TrialT = TypeVar("TrialT", bound=SteeredTrial)


class OrderExecutor(Protocol[TrialT]):
    """What orders need from the code that trains trials."""

    def ordered(self, entry: Decision, trial: TrialT | None = None) -> None:
        """Write an order to the journal, with the trial that it adds or changes."""

    def make(self, order: Order, parent: TrialT | None) -> TrialT:
        """Make the trial of an order to add or clone one; raise ConfigurationError if it is bad."""

    def extend(self, trial: TrialT, epochs: int) -> None:
        """Set a trial's last epoch; raise ConfigurationError if it cannot continue."""

    def release(self, trial: TrialT) -> None:
        """End a trial's process, if it has one."""

    def limit(
        self, limits: Mapping[str, Any], was: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """Set limits of time and cost; return those that the options of the run name.

        Args:
            was: what this returned to the order that a resumed run repeats; a limit that is
                another one in the options now is not set.

        Raises:
            ConfigurationError: a limit is reached already.
        """

    def end_run(self) -> None:
        """End the run in order."""


class SteeredStudy(Protocol[TrialT]):
    """What orders need from a study."""

    plan: Any
    scheduler: Scheduler
    trials: dict[str, TrialT]
    orders: Ordered[TrialT]
    restarting: set[str]

    def release(self, trial: TrialT) -> None:
        """Take a trial from its worker."""

    def is_active(self, trial: TrialT) -> bool:
        """Whether a worker has it."""

    def is_at_milestone(self, trial: TrialT) -> bool:
        """Whether it has trained as far as the scheduler wants for now."""

    def set_epoch_budget(self, epochs: int) -> None:
        """Make the scheduler anew with another budget."""


class Steering(Generic[TrialT]):
    """Carries out orders: checks each, changes the trials, and writes it to the journal."""

    def __init__(self, study: SteeredStudy[TrialT], executor: OrderExecutor[TrialT] | None) -> None:
        self.study = study
        self._executor = executor
        self.orders = study.orders
        self._actions = {
            **dict.fromkeys(ANNOTATIONS, self._annotate),
            STOP_TRIAL: self._stop,
            PAUSE_TRIAL: self._pause,
            RESUME: self._resume,
            EXTEND: self._extend,
            ADD: self._add,
            CLONE: self._add,
            PRIORITY: self._set_priority,
            BUDGET: self._set_budget,
        }

    def carry_out(self, order: Order) -> str:
        """Carry out an order; return what happens, in words.

        Raises:
            ConfigurationError: it is refused, and nothing has changed.
        """
        return self._actions[order.action](order)

    @property
    def executor(self) -> OrderExecutor[TrialT]:
        """What carries orders out."""
        if self._executor is None:
            raise ConfigurationError("this run takes no orders")
        return self._executor

    @property
    def _trials(self) -> dict[str, TrialT]:
        return self.study.trials

    def _write(self, order: Order, trial: TrialT | None = None, **more: Any) -> None:
        epoch = epochs_of(trial) if trial is not None else 0
        self.executor.ordered(entry_of(order, epoch, **more), trial)

    def _annotate(self, order: Order) -> str:
        epoch = epochs_of(trial) if (trial := self._trials.get(order.trial or "")) else 0
        self.executor.ordered(entry_of(order, epoch))
        return "written to the journal"

    def _stop(self, order: Order) -> str:
        if order.trial is None:
            self._write(order)
            self.executor.end_run()
            return "the run ends; --resume continues it"
        trial = unfinished(order, self._trials)
        self.orders.paused.discard(trial.name)
        done = epochs_of(trial)
        if done:
            trial.stop(USER)
        else:
            self._withdraw(trial)
        self._give_up(order, trial)
        return f"stopped after epoch {done}" if done else "removed before its first epoch"

    def _pause(self, order: Order) -> str:
        trial = unfinished(order, self._trials)
        if trial.name in self.orders.paused:
            raise ConfigurationError(f"pause: {trial.name} is already paused by an order")
        self.orders.paused.add(trial.name)
        trial.pause()
        self._give_up(order, trial)
        return f"paused after epoch {epochs_of(trial)}, until it is resumed"

    def _give_up(self, order: Order, trial: TrialT) -> None:
        """Write an order after which a trial does not train, and end its process."""
        self.study.release(trial)
        self._write(order, trial)
        self.executor.release(trial)

    def _resume(self, order: Order) -> str:
        trial = unfinished(order, self._trials)
        if trial.name not in self.orders.paused:
            raise ConfigurationError(f"resume: {trial.name} is not paused by an order")
        self._continue(trial)
        self._write(order, trial)
        return f"continues from epoch {epochs_of(trial)} when resources are free"

    def _continue(self, trial: TrialT) -> None:
        self.orders.paused.discard(trial.name)
        if self.study.is_at_milestone(trial):
            trial.pause()  # by the scheduler, which decides next
        else:
            trial.retry()

    def _extend(self, order: Order) -> str:
        trial = extendable(order, self._trials)
        done, ended, epochs = epochs_of(trial), trial.is_finished, order.arguments["epochs"]
        self.executor.extend(trial, epochs)
        if ended:
            self.orders.apart.setdefault(trial.name, AsOf(trial, done))
            trial.retry()
        elif self.study.is_active(trial):
            self.study.restarting.add(trial.name)
        self._write(order, trial, ended=ended)
        return f"trains to epoch {epochs}, now at epoch {done}"

    def _add(self, order: Order) -> str:
        parent = named(order, self._trials) if order.action == CLONE else None
        most = self.study.plan.max_trials
        if most is not None and len(self._trials) >= most:
            raise ConfigurationError(
                f"{order.action}: --max-trials: the run may have {most} trials, and has them"
            )
        trial = self.executor.make(order, parent)
        self._take_up(trial)
        arguments = {**order.arguments, "name": trial.name} if parent else order.arguments
        self._write(replace(order, arguments=arguments), trial)
        return f"{trial.name} starts when resources are free"

    def _take_up(self, trial: TrialT) -> None:
        """Add a trial of an order; a scheduler that compares cohorts does not see it."""
        self._trials[trial.name] = trial
        if self.study.scheduler.pauses:
            self.orders.apart[trial.name] = None

    def _set_priority(self, order: Order) -> str:
        trial = unfinished(order, self._trials)
        self.orders.priorities[trial.name] = order.arguments["priority"]
        self._write(order)
        return "trials of a higher priority start first"

    def _set_budget(self, order: Order) -> str:
        limits, epochs = dict(order.arguments), order.arguments.get("epochs")
        if epochs is not None:
            self._check_epoch_budget(epochs)
        was = self.executor.limit(limits)
        if epochs is not None:
            self.study.set_epoch_budget(epochs)
        self._write(order, was=dict(was))
        return ", ".join(f"{name} {value:g}" for name, value in limits.items())

    def _check_epoch_budget(self, epochs: int) -> None:
        scheduler = self.study.scheduler
        trained = sum(epochs_of(trial) for trial in self._trials.values())
        if type(scheduler).is_spent is Scheduler.is_spent:
            raise ConfigurationError(
                f"budget: epochs: must be left out, because {scheduler.name} has no budget of "
                "epochs; limit the seconds or the cost"
            )
        if epochs <= trained:
            raise ConfigurationError(
                f"budget: epochs: must be above {trained}, which are trained already, got {epochs}"
            )

    def _withdraw(self, trial: TrialT) -> None:
        del self._trials[trial.name]
        self.orders.withdrawn[trial.name] = trial

    def repeat(self, entry: Decision) -> None:
        """Restore what an order of an earlier part of the run has changed besides the trials."""
        order, trial = order_of(entry), self._trials.get(entry.trial)
        if order.action == BUDGET:
            self.executor.limit(order.arguments, entry.state.get("was", {}))
            if "epochs" in order.arguments:
                self.study.set_epoch_budget(order.arguments["epochs"])
        elif order.action == PRIORITY:
            self.orders.priorities[entry.trial] = order.arguments["priority"]
        elif order.action in (ADD, CLONE):
            added = self._trials.get(order.arguments.get("name", entry.trial))
            if added is not None:
                self._take_up(added)
        elif trial is not None:
            self._repeat_on(order.action, entry, trial)

    def _repeat_on(self, action: str, entry: Decision, trial: TrialT) -> None:
        if action == EXTEND and entry.state.get("ended"):
            self.orders.apart.setdefault(trial.name, AsOf(trial, entry.epoch))
        elif action == STOP_TRIAL and not trial.curve:
            self._withdraw(trial)
        elif action == STOP_TRIAL and trial.name in self.orders.paused:
            self.orders.paused.discard(trial.name)
            trial.retry()  # it was extended since, or it is not finished now
        elif action == PAUSE_TRIAL and not trial.is_finished:
            self.orders.paused.add(trial.name)
            trial.pause()
        elif action == RESUME and not trial.is_finished:
            self._continue(trial)
