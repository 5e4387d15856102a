"""Freeze-thaw: trials pause and continue, the budget ends the search, the best one is whole."""

import math

import pytest

from raytune_ocr.results.decision import START, STOP
from raytune_ocr.tune.execution.simulator import SimulatedTrial, Simulator
from raytune_ocr.tune.schedulers.base import Setup
from raytune_ocr.tune.schedulers.freeze_thaw import FreezeThaw, default_budget
from tests.fixtures.simulated import plan_of

EPOCHS = 12
SPACE = {
    "found": {
        "num_samples": 60,
        "model": {"name": "small"},
        "training": {"num_epochs": EPOCHS, "learning_rate": {"loguniform": [1e-5, 1e-1]}},
    }
}


def make(experiment, point):
    """A trial that is the better, the nearer its learning rate is to 1e-3."""
    level = 1 - abs(math.log10(point.config.learning_rate) + 3) / 2
    curve = [level * (1 - 0.7**epoch) for epoch in range(1, EPOCHS + 1)]
    if point.config.learning_rate > 1e-2:
        curve = [math.nan] * EPOCHS
    values = dict(point.values)
    return SimulatedTrial(point.name, curve, experiment.name, values, vars(point.config))


def search(workers=1, **settings):
    plan = plan_of(SPACE, make=make)
    domains = {e.name: e.domains for e in plan.space.experiments.values()}
    setup = Setup(max_epochs=EPOCHS, num_trials=60, domains=domains, **settings)
    simulator = Simulator(plan, FreezeThaw(setup), workers)
    simulator.run()
    return simulator


@pytest.mark.parametrize("workers", [1, 4])
def test_the_best_trial_is_found_and_trained_to_its_end_within_the_budget(workers):
    trials = search(workers).study.trials.values()
    epochs = sum(len(trial.curve) for trial in trials)
    assert epochs <= default_budget(60, EPOCHS) + EPOCHS * workers
    ends = sorted(trial.recorded[-1] for trial in trials if not math.isnan(trial.recorded[-1]))
    best = max((t for t in trials if t.status == "completed"), key=lambda t: t.curve[EPOCHS])
    assert best.curve[EPOCHS] >= ends[-3]


def test_trials_pause_and_continue_from_where_they_were():
    simulator = search()
    starts = [trial.starts for trial in simulator.study.trials.values()]
    assert max(starts) > 2
    for trial in simulator.study.trials.values():
        assert list(trial.curve) == list(range(1, len(trial.curve) + 1))


def test_what_is_left_when_the_budget_is_spent_stops():
    simulator = search(epoch_budget=40)
    trials = simulator.study.trials.values()
    assert 40 <= sum(len(trial.curve) for trial in trials) <= 40 + EPOCHS
    assert {trial.status for trial in trials} == {"completed", "stopped"}
    assert simulator.study.is_over()


def test_a_budget_of_one_epoch_trains_one():
    trials = search(epoch_budget=1).study.trials.values()
    assert sum(len(trial.curve) for trial in trials) == 1


def test_a_trial_that_diverges_stops_at_once():
    simulator = search()
    trials = simulator.study.trials.values()
    diverged = [t for t in trials if t.curve and math.isnan(t.curve[1])]
    assert diverged and all(len(t.curve) == 1 and t.status == "stopped" for t in diverged)


def test_where_all_trials_diverge_the_search_ends():
    def diverging(experiment, point):
        return SimulatedTrial(point.name, [math.nan] * EPOCHS, experiment.name, dict(point.values))

    plan = plan_of(SPACE, make=diverging)
    simulator = Simulator(plan, FreezeThaw(Setup(max_epochs=EPOCHS, num_trials=60)), 2)
    simulator.run()
    assert {t.status for t in simulator.study.trials.values()} == {"stopped"}


def test_every_start_is_in_the_journal_with_what_later_ones_depend_on():
    simulator = search(epoch_budget=60)
    decisions = [decision for entry in simulator.journal for decision in entry.decisions]
    starts = [decision for decision in decisions if decision.decision == START]
    assert len(starts) == sum(t.starts for t in simulator.study.trials.values())
    assert any("theta" in decision.state for decision in starts)
    assert {decision.decision for decision in decisions} == {START, STOP}


def test_a_search_of_unknown_size_has_no_budget_of_its_own():
    assert default_budget(None, 50) == math.inf
    assert default_budget(1, 50) == 50
    assert default_budget(9, 9) == 9 + 3 * 2 + 1 * 6
