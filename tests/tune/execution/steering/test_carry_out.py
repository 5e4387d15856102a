"""Orders at any place of any search: nothing is lost, and a replay decides alike."""

import random

import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.steering.orders import new_order
from raytune_ocr.tune.execution.simulator import SimulatedTrial, Simulator
from raytune_ocr.tune.registries import SCHEDULERS
from raytune_ocr.tune.schedulers.base import Setup
from raytune_ocr.tune.search.plan import Plan
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.search_space import read_space
from tests.tune.execution.test_simulator import EPOCHS, PAIRS, SPACE, make

CASES = [pair for pair in PAIRS if pair[1] == "random" or pair[0] in ("asha", "freeze-thaw")]
"""Searchers matter little here, and take long."""


def made(order, parent):
    """The trial of an order: its curve follows from its name."""
    name = order.arguments.get("name", order.trial)
    rng = random.Random(name)
    curve = [rng.random() for _ in range(parent.max_epochs if parent else EPOCHS)]
    return SimulatedTrial(name, curve, settings={"learning_rate": 0.1})


def simulator(scheduler="none", search="random", workers=1, journal=(), max_trials=None):
    space = read_space(SPACE)
    setup = Setup(
        grace_period=2,
        reduction_factor=2,
        max_epochs=EPOCHS,
        num_trials=8,
        domains={e.name: e.domains for e in space.experiments.values()},
        changeable=("learning_rate", "weight_decay"),
    )
    plan = Plan(space, search, KnownPoints(), max_trials, make)
    return Simulator(plan, SCHEDULERS[scheduler](setup), workers, 0.3, journal, made)


def random_order(rng, trials):
    """An order on any trial, good or bad."""
    trial, number = rng.choice([*trials, "nobody"]), rng.randrange(1000)
    kinds = ["stop", "pause", "resume", "resume", "extend", "add", "clone", "priority", "budget"]
    kind = rng.choice(kinds)
    arguments = {
        "extend": {"epochs": rng.randint(1, EPOCHS + 4)},
        "add": {"set": {"seed": number}},
        "clone": {"set": {"seed": number}, "name": f"clone{number}"},
        "priority": {"priority": rng.randint(-2, 2)},
        "budget": {"epochs": rng.randint(10, 60), "seconds": 1.0 + number},
    }.get(kind, {})
    named = {"add": f"added{number}", "budget": None}.get(kind, trial)
    return new_order(kind, named, **arguments)


def state_of(value):
    """What a scheduler remembers, whatever it keeps it in."""
    if hasattr(value, "__dict__"):
        made_of_the_setup = ("setup", "_cube", "_earlier")
        kept = {k: v for k, v in vars(value).items() if k not in made_of_the_setup}
        return {k: state_of(v) for k, v in kept.items()}
    if isinstance(value, dict):
        return {k: state_of(v) for k, v in value.items()}
    return repr(sorted(value) if isinstance(value, set) else value)


def restored(simulated):
    """All that a resume has to restore."""
    study, orders = simulated.study, simulated.study.orders
    open_ones = {trial.name for trial in study.unfinished}
    return {
        "trials": {
            name: ("open" if name in open_ones else t.status, repr(t.curve), t.max_epochs)
            for name, t in study.trials.items()
        },
        "paused": orders.paused & open_ones,
        "priorities": dict(orders.priorities),
        "apart": {name: t and repr(t.curve) for name, t in orders.apart.items()},
        "withdrawn": set(orders.withdrawn),
        "scheduler": state_of(study.scheduler),
        "limits": dict(simulated.limits),
    }


def give(simulated, order):
    before = len(simulated.journal)
    try:
        simulated.study.order(order)
    except ConfigurationError:
        assert len(simulated.journal) == before, "a refused order is no entry"
    else:
        assert len(simulated.journal) == before + 1, "an order is one entry"


def resume_all(simulated):
    """Train to the end; at last, resume what orders have paused."""
    simulated.run()
    while simulated.study.waits_for_orders:
        open_ones = {trial.name for trial in simulated.study.unfinished}
        name = min(simulated.study.orders.paused & open_ones)
        give(simulated, new_order("resume", name))
        simulated.run()
    statuses = {trial.status for trial in simulated.study.trials.values()}
    assert statuses <= {"completed", "stopped", "failed"}, "a trial was lost or is paused for ever"


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("scheduler", "search"), CASES)
def test_orders_at_any_place_lose_no_trial_and_a_replay_is_identical(scheduler, search, seed):
    rng = random.Random(f"{scheduler} {search} {seed}")
    calm = simulator(scheduler, search, workers=1 + seed)
    names = ["preset", *(f"found_{number:04}" for number in range(1, 8))]
    at = {rng.randrange(40): random_order(rng, names) for _ in range(12)}
    snapshots = {}
    for epoch in range(60):
        calm.run(epoch)
        if epoch in at:
            give(calm, at[epoch])
        snapshots[len(calm.journal)] = restored(calm)
    resume_all(calm)
    epochs = [(report.trial, report.epoch) for report in calm.reports]
    assert len(set(epochs)) == len(epochs), "an epoch was trained twice"
    for cut, snapshot in list(snapshots.items())[seed::2]:
        assert restored(simulator(scheduler, search, journal=calm.journal[:cut])) == snapshot
    for cut in range(seed, len(calm.journal) + 1, 6):
        rough = simulator(scheduler, search, journal=calm.journal[:cut])
        resume_all(rough)
        kept = {entry.trial.name: entry.trial for entry in calm.journal[:cut] if entry.trial}
        for name, state in kept.items():
            if name in rough.study.trials:
                curve = rough.study.trials[name].curve
                assert repr({e: curve[e] for e in state.curve}) == repr(dict(state.curve))
