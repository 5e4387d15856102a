"""Other tools that search, replayed on the same tables by the same simulator."""

from __future__ import annotations

import importlib.util
import logging
import math
import time
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Protocol

from benchmarks.support.replay import (
    EXPERIMENT,
    REDUCTION_FACTOR,
    Conditions,
    Outcome,
    Record,
    Rows,
    TableSimulator,
)
from benchmarks.support.tables import Table
from raytune_ocr.tune.execution.simulator import SimulatedTrial
from raytune_ocr.tune.schedulers.base import STOP, Decision, Scheduler, Setup, Trial, Trials
from raytune_ocr.tune.space.domains import Domain

METRIC, EPOCH = "loss", "epoch"


class Peer(Protocol):
    """Another tool's search on one table."""

    def suggest(self) -> dict[str, Any]:
        """The settings of a new trial, by name."""

    def begin(self, name: str, values: Mapping[str, Any]) -> None:
        """A trial begins, with these settings instead."""

    def goes_on(self, name: str, epoch: int, score: float) -> bool:
        """Take in a trial's score after an epoch; whether it trains on."""


class OptunaPeer:
    """An Optuna sampler with the successive-halving pruner.

    Args:
        sampler: its class in `optuna.samplers`.
    """

    def __init__(self, sampler: str, table: Table, seed: int, workers: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        pruner = optuna.pruners.SuccessiveHalvingPruner(
            min_resource=1, reduction_factor=REDUCTION_FACTOR
        )
        liar = {"constant_liar": True} if sampler == "TPESampler" and workers > 1 else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            chosen = getattr(optuna.samplers, sampler)(seed=seed, **liar)
        self._study = optuna.create_study(direction="maximize", sampler=chosen, pruner=pruner)
        self._states = optuna.trial.TrialState
        self._table = table
        self._trials: dict[str, Any] = {}

    def suggest(self) -> dict[str, Any]:
        """Ask; the trial itself begins with the settings of a config of the table."""
        trial = self._study.ask()
        values = self._drawn(trial)
        self._study.tell(trial, state=self._states.FAIL)  # which samplers leave out
        return values

    def begin(self, name: str, values: Mapping[str, Any]) -> None:
        """Ask for a trial with these settings."""
        self._study.enqueue_trial(dict(values))
        self._trials[name] = self._study.ask()
        self._drawn(self._trials[name])

    def goes_on(self, name: str, epoch: int, score: float) -> bool:
        """Report, then prune or complete."""
        trial = self._trials[name]
        trial.report(score, epoch)
        if epoch == self._table.epochs:
            state = self._states.FAIL if math.isnan(score) else self._states.COMPLETE
            self._study.tell(trial, None if math.isnan(score) else score, state=state)
        elif trial.should_prune():
            self._study.tell(trial, state=self._states.PRUNED)
            return False
        return True

    def _drawn(self, trial: Any) -> dict[str, Any]:
        """A value of each setting that applies, conditions first."""
        values: dict[str, Any] = {}
        for name, domain in self._table.domains.items():
            if not all(values.get(other) in allowed for other, allowed in domain.when):
                continue
            if domain.is_list:
                values[name] = trial.suggest_categorical(name, domain.values)
            else:
                values[name] = trial.suggest_float(name, domain.low, domain.high)
        return values


class SyneTunePeer:
    """A scheduler of Syne Tune that stops trials; it knows no conditional settings.

    Args:
        scheduler: its class in `syne_tune.optimizer.baselines`.
    """

    def __init__(self, scheduler: str, table: Table, seed: int, workers: int) -> None:
        import numpy as np
        from syne_tune.backend.trial_status import Trial as SyneTuneTrial
        from syne_tune.optimizer import baselines

        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        np.random.seed(seed)
        self._domains = table.domains
        self._worst = table.worst
        self._scheduler = getattr(baselines, scheduler)(
            config_space={name: _syne_tune(domain) for name, domain in table.domains.items()},
            metric=METRIC,
            time_attr=EPOCH,
            max_t=table.epochs,
            grace_period=1,
            reduction_factor=REDUCTION_FACTOR,
            random_seed=seed,
        )
        self._make = SyneTuneTrial
        self._trials: dict[str, Any] = {}

    def suggest(self) -> dict[str, Any]:
        """The settings that apply."""
        suggested = self._scheduler.suggest().config
        values: dict[str, Any] = {}
        for name, domain in self._domains.items():
            if all(values.get(other) in allowed for other, allowed in domain.when):
                values[name] = suggested[name]
        return values

    def begin(self, name: str, values: Mapping[str, Any]) -> None:
        """Add a trial with these settings; those that do not apply are in the middle."""
        whole = {
            setting: values.get(setting, domain.values[0] if domain.is_list else 0.5)
            for setting, domain in self._domains.items()
        }
        self._trials[name] = self._make(len(self._trials), whole, datetime.fromtimestamp(0))
        self._scheduler.on_trial_add(self._trials[name])

    def goes_on(self, name: str, epoch: int, score: float) -> bool:
        """Report, a NaN as the worst loss of the table."""
        loss = self._worst if math.isnan(score) else -score
        trial = self._trials[name]
        action = self._scheduler.on_trial_result(trial, {METRIC: loss, EPOCH: epoch})
        if action != "CONTINUE":
            self._scheduler.on_trial_remove(trial)
        return bool(action == "CONTINUE")


def _syne_tune(domain: Domain) -> Any:
    from syne_tune import config_space

    if domain.is_list:
        return config_space.choice(list(domain.values))
    return config_space.uniform(domain.low, domain.high)


class PeerPlan:
    """Trials as a peer suggests them."""

    adaptive = True

    def __init__(self, peer: Peer, rows: Rows) -> None:
        self._peer = peer
        self._rows = rows

    def initial(self, begun: Any = ()) -> list[SimulatedTrial]:
        """No trial is known from the start."""
        return []

    def restored(self, begun: Any) -> list[SimulatedTrial]:
        """A replay is never resumed."""
        return []

    def suggest(self, trials: Mapping[str, Trial]) -> SimulatedTrial | None:
        """A trial of the peer's settings, while the table has configs left."""
        if not self._rows.free.any():
            return None
        return self._rows.trial(f"{EXPERIMENT}_{len(trials) + 1:04d}", self._peer.suggest())

    def observe(self, trial: Trial) -> None:
        """The scheduler tells the peer."""


class PeerScheduler(Scheduler):
    """Stops the trials that a peer stops."""

    name: ClassVar[str] = "peer"

    def __init__(self, setup: Setup, peer: Peer) -> None:
        super().__init__(setup)
        self._peer = peer

    def report(self, trial: Trial, trials: Trials) -> Decision | None:
        """Ask the peer."""
        epoch = max(trial.curve)
        if self._peer.goes_on(trial.name, epoch, trial.curve[epoch]) or trial.is_finished:
            return None
        return self._decision(trial.name, epoch, STOP)


class PeerSimulator(TableSimulator):
    """A simulator that tells a peer which trial begins."""

    def __init__(self, rows: Rows, peer: Peer, conditions: Conditions) -> None:
        scheduler = PeerScheduler(Setup(max_epochs=rows.table.epochs), peer)
        super().__init__(rows, PeerPlan(peer, rows), scheduler, conditions)
        self._peer = peer

    def start(self, trial: SimulatedTrial) -> None:
        """Tell the peer the place of the config that the trial became."""
        super().start(trial)
        self._peer.begin(trial.name, trial.sampled)


class PeerMethod(NamedTuple):
    """Another tool's search.

    Attributes:
        package: what must be installed.
    """

    package: str
    make: Callable[[str, Table, int, int], Peer]
    kind: str

    @property
    def is_installed(self) -> bool:
        """Whether the package is there."""
        return importlib.util.find_spec(self.package) is not None

    def run(self, table: Table, seed: int, conditions: Conditions) -> Outcome:
        """Replay it."""
        peer = self.make(self.kind, table, seed, conditions.workers)
        simulator = PeerSimulator(Rows(table, conditions, seed), peer, conditions)
        started = time.process_time()
        reports = simulator.run(until=conditions.budget / conditions.workers)
        record = Record(table, conditions)
        record.add(simulator, reports, time.process_time() - started)
        return record.result()


PEERS: dict[str, PeerMethod] = {
    "optuna-tpe": PeerMethod("optuna", OptunaPeer, "TPESampler"),
    "optuna-gp": PeerMethod("optuna", OptunaPeer, "GPSampler"),
    "synetune-asha": PeerMethod("syne_tune", SyneTunePeer, "ASHA"),
    "synetune-bohb": PeerMethod("syne_tune", SyneTunePeer, "BOHB"),
    "synetune-bore": PeerMethod("syne_tune", SyneTunePeer, "ASHABORE"),
    "synetune-cqr": PeerMethod("syne_tune", SyneTunePeer, "ASHACQR"),
}
"""By the name on the command line; of two of one name, `asha+NAME` is the product's."""
