"""What orders of users need from a run: its records, its files, its limits and its processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.decision import ORDER, Decision
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.results.steering.orders import ADD, ANNOTATIONS, CLONE, EXTEND, Order
from raytune_ocr.tune.chosen_options import check_comparable
from raytune_ocr.tune.execution.budget import Budget
from raytune_ocr.tune.execution.cleanup import forget
from raytune_ocr.tune.execution.recording.recorder import Recorder
from raytune_ocr.tune.execution.steering.ordered_records import (
    OrderedRecords,
    check_state,
    extended,
)
from raytune_ocr.tune.options import TuneOptions
from raytune_ocr.tune.space.search_space import Space
from raytune_ocr.tune.storage.mirror import RunCopy


class SteeredRun(Protocol):
    """What orders need from a run."""

    output_dir: Path
    options: TuneOptions
    copy: RunCopy
    budget: Budget
    journal: Journal
    recorder: Recorder
    study: Any
    confirming: dict[str, TrialRecord]

    @property
    def records(self) -> Mapping[str, TrialRecord]:
        """All trials, by name."""


def _nothing(trial: TrialRecord) -> None:
    """Do nothing: trials of this run have no processes."""


class RunOrders:
    """Carries out the orders to a run.

    Args:
        run: the run.

    Attributes:
        records: makes the trials that orders add.
        on_release: ends the process of a trial.
        on_end: ends the run in order.
        check_resources: raises ConfigurationError if no node can run a trial.
    """

    def __init__(self, run: SteeredRun) -> None:
        self.run = run
        self.records = OrderedRecords(str(run.output_dir), Space({}))
        self.on_release: Callable[[TrialRecord], None] = _nothing
        self.on_end: Callable[[], None] = lambda: None
        self.check_resources: Callable[[TrialRecord], None] = _nothing

    def carry_out(self, order: Order) -> str:
        """Carry out an order; return what happens, in words.

        Raises:
            ConfigurationError: it is refused.
        """
        run, name = self.run, order.trial
        if order.action in ANNOTATIONS and name is not None and name not in run.records:
            raise ConfigurationError(f"{order.action}: there is no trial {name}")
        if order.action not in ANNOTATIONS and name in run.confirming:
            raise ConfigurationError(
                f"{order.action}: {name} confirms a result with another seed; orders change only "
                "trials of the search"
            )
        words: str = run.study.order(order)
        return words

    def is_known(self, order: Order) -> bool:
        """Whether the journal has an order already."""
        ids = (d.state.get("id") for d in self.run.journal.decisions if d.decision == ORDER)
        return order.id in ids

    def restore(self, decisions: Iterable[Decision]) -> None:
        """Add and extend the trials of a resumed run as its orders and its scheduler did."""
        run = self.run
        self.records.restore(run.study.trials, decisions, run.journal.path.name)

    # The study's `OrderExecutor`

    def ordered(self, entry: Decision, trial: TrialRecord | None = None) -> None:
        """Write an order to the journal, in one line with the trial that it adds or changes."""
        run, action = self.run, entry.state["action"]
        if trial is None or not run.journal.is_open:
            run.recorder.keep([entry])
            return
        if action in (ADD, CLONE):
            forget(run.output_dir, run.copy, [trial.name])
        if action == EXTEND:
            run.journal.write_settings_again(trial.name)
        run.recorder.changed(trial, [entry])

    def make(self, order: Order, parent: TrialRecord | None) -> TrialRecord:
        """Make the record of a trial to add; raise ConfigurationError if it cannot train here."""
        run = self.run
        taken = {*run.records, *run.study.orders.withdrawn, *run.journal.names}
        record = self.records.make(order, parent, taken)
        if run.study.scheduler.keeps_name(record.name):
            raise ConfigurationError(
                f"{order.action}: name: must not end as the names of clones do, which the "
                f"scheduler {run.study.scheduler.name} makes, got {record.name!r}; choose another"
            )
        trials = run.study.trials.values()
        compared = [(each.search or each.name, each.config) for each in [*trials, record]]
        check_comparable(compared, run.options.scheduler)
        loaded = {t.task.data_key(t.config) for t in [*trials, *run.study.plan.examples()]}
        if record.task.data_key(record.config) not in loaded:
            raise ConfigurationError(
                f"{order.action}: {record.name} must use data of the run, because data are read "
                "before the first trial"
            )
        self.check_resources(record)
        return record

    def extend(self, trial: TrialRecord, epochs: int) -> None:
        """Set a trial's last epoch; a finished one must have a state to continue from."""
        if trial.is_finished:
            check_state(self.run.output_dir, self.run.copy, trial)
        trial.config = extended(trial.config, epochs)

    def release(self, trial: TrialRecord) -> None:
        """End a trial's process, if it has one."""
        self.on_release(trial)

    def limit(
        self, limits: Mapping[str, Any], was: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """Set limits of time and cost; return those of the options."""
        options = self.run.options
        chosen = {"seconds": options.time_budget, "cost": options.max_cost}
        if was is not None:
            limits = {n: v for n, v in limits.items() if chosen.get(n) == was.get(n)}
        self.run.budget.limit(limits.get("seconds"), limits.get("cost"), check=was is None)
        return chosen

    def end_run(self) -> None:
        """End the run in order."""
        self.on_end()
