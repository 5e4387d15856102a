"""Every scheduler and search on recorded curves: in any order, killed anywhere, all ends well."""

import math
import random

import pytest

from raytune_ocr.results.decision import STOP
from raytune_ocr.tune.execution.simulator import SimulatedTrial, Simulator
from raytune_ocr.tune.registries import SCHEDULERS, SEARCHERS
from raytune_ocr.tune.schedulers.base import Setup
from raytune_ocr.tune.search.plan import Plan
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.search_space import read_space

EPOCHS, TRIALS = 9, 8
SPACE = {
    "experiments": {
        "preset": {"model": {"name": "small"}, "training": {"num_epochs": EPOCHS}},
        "found": {
            "num_samples": TRIALS - 1,
            "model": {"name": "small"},
            "training": {
                "num_epochs": EPOCHS,
                "learning_rate": {"loguniform": [1e-5, 1e-1]},
                "weight_decay": {"loguniform": [1e-5, 1e-1]},
            },
        },
    }
}
PAIRS = [
    (scheduler, search)
    for scheduler in SCHEDULERS.names()
    for search in SEARCHERS.names()
    if not (SCHEDULERS[scheduler].needs_all_trials and SEARCHERS[search].adaptive)
]


def make(experiment, point):
    """A trial with a curve that follows from its learning rate, noise and now and then a NaN."""
    rng = random.Random(point.name)
    goodness = 1 - abs(math.log10(point.config.learning_rate) + 3) / 4
    curve = [goodness * (1 - 0.7**epoch) + rng.gauss(0, 0.02) for epoch in range(1, EPOCHS + 1)]
    if rng.random() < 0.2:
        curve[rng.randrange(EPOCHS)] = math.nan
    return SimulatedTrial(
        point.name,
        curve,
        search=experiment.name if experiment.is_search else "",
        sampled=dict(point.values),
        settings=vars(point.config),
        seconds=rng.choice([0.5, 1.0, 2.5]),
        fails_after=rng.randint(1, EPOCHS) if rng.random() < 0.15 else None,
    )


def simulate(scheduler, search, workers=1, journal=(), start_cost=0.0):
    space = read_space(SPACE)
    plan = Plan(space, search, KnownPoints(), None, make)
    setup = Setup(
        grace_period=2,
        reduction_factor=2,
        max_epochs=EPOCHS,
        domains={e.name: e.domains for e in space.experiments.values()},
        changeable=("learning_rate", "weight_decay"),
    )
    simulator = Simulator(plan, SCHEDULERS[scheduler](setup), workers, start_cost, journal)
    simulator.run()
    return simulator


def outcome(simulator):
    """How each trial ended and what it trained, whatever the order."""
    trials = simulator.study.trials.values()
    return {trial.name: (trial.status, repr(trial.curve)) for trial in trials}


def decided(simulator):
    entries = [decision for entry in simulator.journal for decision in entry.decisions]
    return sorted(entries, key=lambda each: (each.epoch, each.trial, each.decision))


@pytest.mark.parametrize("workers", [1, 3, 16])
@pytest.mark.parametrize(("scheduler", "search"), PAIRS)
def test_no_trial_is_lost_judged_twice_or_left_paused(scheduler, search, workers):
    simulator = simulate(scheduler, search, workers, start_cost=0.3)
    trials = simulator.study.trials.values()
    assert len(trials) >= TRIALS
    assert {trial.status for trial in trials} <= {"completed", "stopped", "failed"}
    epochs = [(report.trial, report.epoch) for report in simulator.reports]
    assert len(set(epochs)) == len(epochs), "an epoch was trained twice"
    judged = [(d.trial, d.epoch) for d in decided(simulator)]
    assert len(set(judged)) == len(judged), "a trial was judged twice at a rung"
    stops = [d.trial for d in decided(simulator) if d.decision == STOP]
    assert all(simulator.study.trials[name].is_finished for name in stops)
    may_stop_none = scheduler in ("none", "pbt", "freeze-thaw", "median")
    assert stops or may_stop_none


@pytest.mark.parametrize(("scheduler", "search"), PAIRS)
def test_a_run_that_is_killed_at_any_line_decides_as_an_undisturbed_one(scheduler, search):
    calm = simulate(scheduler, search)
    for cut in range(len(calm.journal) + 1):
        rough = simulate(scheduler, search, journal=calm.journal[:cut])
        assert outcome(rough) == outcome(calm), f"killed after line {cut}"
        assert decided(rough) == decided(calm), f"killed after line {cut}"


@pytest.mark.parametrize(
    "scheduler", [name for name in SCHEDULERS.names() if SCHEDULERS[name].needs_all_trials]
)
def test_a_synchronous_scheduler_decides_alike_on_any_number_of_workers(scheduler):
    one, many = simulate(scheduler, "random"), simulate(scheduler, "random", workers=5)
    assert outcome(one) == outcome(many)
    assert decided(one) == decided(many)


@pytest.mark.parametrize(("scheduler", "search"), PAIRS)
def test_a_run_on_several_workers_continues_after_a_kill_at_any_line(scheduler, search):
    calm = simulate(scheduler, search, workers=3)
    for cut in range(0, len(calm.journal) + 1, 3):
        rough = simulate(scheduler, search, workers=3, journal=calm.journal[:cut])
        assert {t.status for t in rough.study.trials.values()} <= {
            "completed",
            "stopped",
            "failed",
        }
        kept = {entry.trial.name: entry.trial for entry in calm.journal[:cut] if entry.trial}
        for name, state in kept.items():
            curve = rough.study.trials[name].curve
            assert repr({e: curve[e] for e in state.curve}) == repr(dict(state.curve))


def test_every_start_costs_what_it_is_said_to():
    free, dear = (simulate("none", "random", start_cost=cost) for cost in (0.0, 2.0))
    starts = sum(trial.starts for trial in dear.study.trials.values())
    gap = dear.reports[-1].time - free.reports[-1].time
    assert gap == pytest.approx(2.0 * starts)
