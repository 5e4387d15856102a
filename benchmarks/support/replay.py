"""Replays the schedulers and searchers of the product on a table of learning curves.

A suggestion is replaced by the nearest config of the table that has not begun, when it begins, and
the method is given that config's position as if it had suggested it. Random draws become configs as
they are drawn, so that a scheduler that picks among them picks among configs of the table.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.support.earlier import known_points
from benchmarks.support.tables import Table
from raytune_ocr.errors import ConfigurationError, unknown_name
from raytune_ocr.results.decision import Decision
from raytune_ocr.tune.execution.simulator import Report, SimulatedTrial, Simulator
from raytune_ocr.tune.registries import SCHEDULERS, SEARCHERS
from raytune_ocr.tune.schedulers.base import Scheduler, Setup
from raytune_ocr.tune.search.earlier import earlier_studies
from raytune_ocr.tune.search.plan import Plan
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.experiment import Experiment, Point
from raytune_ocr.tune.space.search_space import Space

Array = NDArray[np.float64]
EXPERIMENT = "table"
REDUCTION_FACTOR = 3
POPULATIONS = {"halving": 81, "pbt": 20}
"""Trials of a run of a scheduler that needs all of them at once; another run follows it."""
GRACE = {"pbt": 5}
"""Epochs between two comparisons, where 1 makes no sense."""


@dataclass(frozen=True)
class Conditions:
    """How trials train.

    Attributes:
        budget: epochs' worth of the time of all workers together.
        start_cost: time from the choice of a trial until its first epoch, in epochs.
        unequal: whether an epoch takes another time with each config.
        earlier: which earlier studies are known, of `earlier.MODES`; "": none.
    """

    budget: int = 1000
    workers: int = 1
    start_cost: float = 0.0
    unequal: bool = False
    earlier: str = ""

    def seconds(self, table: Table, seed: int) -> Array:
        """The time of an epoch of each config [n]: 1, or log-normal with a median of 1."""
        if not self.unequal:
            return np.ones(len(table.loss))
        return np.exp(np.random.default_rng([seed, 3]).normal(0.0, 0.5, len(table.loss)))


class Outcome(NamedTuple):
    """A replay: the regret after each epoch's worth of time [budget + 1], and what it cost."""

    regret: Array
    cpu_seconds: float
    decisions: int


@dataclass(frozen=True)
class TableExperiment(Experiment):
    """An experiment with settings of a table instead of those of a training."""

    def point(self, values: Mapping[str, Any], number: int) -> Point:
        """The trial of these values."""
        config: Any = SimpleNamespace(experiment_name=self.trial_name(number), to_dict=dict)
        return Point(config, values)


class Rows:
    """The configs of a table that have not begun, and what an epoch of each costs."""

    def __init__(
        self, table: Table, conditions: Conditions, seed: int, at_once: bool = False
    ) -> None:
        self.table = table
        self._at_once = at_once
        self.seconds = conditions.seconds(table, seed)
        self.free = np.ones(len(table.loss), dtype=bool)
        self._unknown = [math.nan] * table.epochs

    def begin(self, trial: SimulatedTrial) -> None:
        """Give a trial that begins its config, where it has none."""
        if trial.recorded is self._unknown:
            self.take(trial)

    def take(self, trial: SimulatedTrial) -> None:
        """Make a trial that of the nearest config that has not begun."""
        config = self.table.nearest(trial.sampled, self.free)
        self.free[config] = False
        trial.sampled = trial.settings = self.table.values(config)
        trial.recorded = self.table.scores[config]
        trial.seconds = float(self.seconds[config])

    def make(self, experiment: Experiment, point: Point) -> SimulatedTrial:
        """The trial of a point."""
        return self.trial(point.name, point.values)

    def trial(self, name: str, values: Mapping[str, Any]) -> SimulatedTrial:
        """A trial as suggested, with a curve that is not known before it begins."""
        settings = dict(values)
        trial = SimulatedTrial(name, self._unknown, EXPERIMENT, settings, settings)
        if self._at_once:
            self.take(trial)
        return trial


class TableSimulator(Simulator):
    """A simulator of trials that are rows of a table."""

    def __init__(self, rows: Rows, plan: Any, scheduler: Scheduler, conditions: Conditions) -> None:
        super().__init__(plan, scheduler, conditions.workers, conditions.start_cost)
        self._rows = rows

    def start(self, trial: SimulatedTrial) -> None:
        """Give a trial its curve when it begins."""
        self._rows.begin(trial)
        super().start(trial)

    def clone(
        self,
        parent: SimulatedTrial,
        decision: Decision,
        restored: SimulatedTrial | None = None,
    ) -> SimulatedTrial:
        """Continue a trial on the curve of the config nearest to its new settings."""
        clone = super().clone(parent, decision)
        clone.sampled = {name: clone.settings[name] for name in parent.sampled}
        self._rows.take(clone)
        return clone


class Method(NamedTuple):
    """A scheduler and a searcher of the product, by name.

    Attributes:
        grace: epochs before a trial may be stopped.
    """

    scheduler: str
    search: str
    grace: int

    def run(self, table: Table, seed: int, conditions: Conditions) -> Outcome:
        """Replay it; where it has decided all that it can, another run of it follows."""
        # Random draws are known from the start, and so are the configs that they become.
        rows = Rows(table, conditions, seed, at_once=not SEARCHERS[self.search].adaptive)
        outcome = Record(table, conditions)
        end = conditions.budget / conditions.workers
        while outcome.now < end and rows.free.any():
            simulator = self._simulator(rows, seed + 7919 * outcome.runs, conditions)
            started = time.process_time()
            reports = simulator.run(until=end - outcome.now)
            outcome.add(simulator, reports, time.process_time() - started)
        return outcome.result()

    def _simulator(self, rows: Rows, seed: int, conditions: Conditions) -> TableSimulator:
        table = rows.table
        trials = int(rows.free.sum())
        if SCHEDULERS[self.scheduler].needs_all_trials:
            trials = min(trials, POPULATIONS.get(self.scheduler, trials))
        experiment = TableExperiment(EXPERIMENT, table.name, {}, table.domains, num_samples=trials)
        space = Space({EXPERIMENT: experiment}, seed=seed)
        known = KnownPoints()
        if conditions.earlier:
            known = known_points(table.relatives, conditions.earlier, seed)
        setup = Setup(
            **limits(trials, conditions.budget),
            grace_period=self.grace,
            reduction_factor=REDUCTION_FACTOR,
            max_epochs=table.epochs,
            max_trials=trials,
            seed=seed,
            domains={EXPERIMENT: table.domains},
            changeable=tuple(table.domains),
            earlier=earlier_studies(known, [experiment]),
        )
        plan = Plan(space, self.search, known, None, rows.make)
        return TableSimulator(rows, plan, SCHEDULERS[self.scheduler](setup), conditions)


def limits(trials: int, epochs: int) -> dict[str, int]:
    """What schedulers that plan ahead ask for, where there are any."""
    known = {field.name for field in dataclasses.fields(Setup)}
    return {
        name: value
        for name, value in {"num_trials": trials, "epoch_budget": epochs}.items()
        if name in known
    }


def find_method(name: str) -> Method:
    """The method of a name: `SCHEDULER`, `SEARCHER` (under ASHA) or `SCHEDULER+SEARCHER`.

    `@N` after it is the grace period; without it trials may be stopped after their first epoch.
    `random` trains random draws to their ends.

    Raises:
        ConfigurationError: naming the schedulers and searchers that there are.
    """
    pair, _, grace = name.partition("@")
    scheduler, _, search = pair.partition("+")
    if pair == "random":
        scheduler = "none"
    elif not search and scheduler not in SCHEDULERS.names():
        scheduler, search = "asha", scheduler
    search = search or "random"
    known = [*SCHEDULERS.names(), *SEARCHERS.names()]
    for part, names in ((scheduler, SCHEDULERS.names()), (search, SEARCHERS.names())):
        if part not in names:
            raise ConfigurationError(f"--methods: {unknown_name('method', part, known)}")
    if grace and not (grace.isdigit() and int(grace)):
        raise ConfigurationError(f"--methods: {name}: the grace period must be >= 1, got {grace}")
    return Method(scheduler, search, int(grace or GRACE.get(scheduler, 1)))


class Record:
    """What a replay reached so far, over several runs of a method one after the other."""

    def __init__(self, table: Table, conditions: Conditions) -> None:
        self.runs = 0
        self.now = 0.0
        self._table = table
        self._workers = conditions.workers
        self._best = np.full(conditions.budget + 1, -np.inf)
        self._cpu, self._decisions = 0.0, 0

    def add(self, simulator: Simulator, reports: list[Report], cpu_seconds: float) -> None:
        """Count a run."""
        known = [report for report in reports if not math.isnan(report.score)]
        for report in known:
            spent = math.ceil((self.now + report.time) * self._workers - 1e-9)
            if spent < len(self._best):
                self._best[spent] = max(self._best[spent], report.score)
        self.now += reports[-1].time if reports else math.inf
        self.runs += 1
        self._cpu += cpu_seconds
        self._decisions += sum(trial.starts for trial in simulator.study.trials.values())

    def result(self) -> Outcome:
        """The regret of the best seen by then; 1 before the first report."""
        best = -np.maximum.accumulate(self._best)
        regret = (best - self._table.best) / self._table.scale
        return Outcome(np.where(np.isinf(regret), 1.0, regret), self._cpu, self._decisions)
