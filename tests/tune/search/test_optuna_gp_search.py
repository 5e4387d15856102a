import math

from optuna.trial import TrialState

from raytune_ocr.tune.execution.simulator import SimulatedTrial, Simulator
from raytune_ocr.tune.schedulers.asha import ASHA
from raytune_ocr.tune.schedulers.base import Setup
from raytune_ocr.tune.schedulers.fifo import FIFO
from tests.fixtures.simulated import plan_of

EPOCHS = 4
SEARCH = {
    "num_samples": 15,
    "model": {"name": {"choice": ["small", "ctc_small"]}},
    "training": {
        "num_epochs": EPOCHS,
        "learning_rate": {"loguniform": [1e-5, 1e-1]},
        "label_smoothing": {"uniform": [0, 0.1], "when": {"model.name": "small"}},
    },
}
PLAIN = {**SEARCH, "training": {**SEARCH["training"], "label_smoothing": 0.0}}


def make(experiment, point):
    """The better, the nearer the learning rate is to 1e-3; the first half of a curve is worse."""
    level = 1 - abs(math.log10(point.config.learning_rate) + 3) / 4
    curve = [level * epoch / EPOCHS for epoch in range(1, EPOCHS + 1)]
    return SimulatedTrial(point.name, curve, experiment.name, dict(point.values))


def search(content, scheduler=ASHA):
    plan = plan_of({"found": content}, "optuna-gp", make=make)
    simulator = Simulator(plan, scheduler(Setup(grace_period=1, max_epochs=EPOCHS)))
    simulator.run()
    return simulator


def test_later_trials_are_nearer_to_the_best_than_the_random_first_ones():
    trials = list(search(PLAIN, FIFO).study.trials.values())
    assert len(trials) == 15 and len({str(trial.sampled) for trial in trials}) == 15
    means = [sum(trial.recorded[-1] for trial in some) / 5 for some in (trials[:5], trials[-5:])]
    assert means[1] > max(0.9, means[0])


def test_a_stopped_trial_counts_with_its_best_score():
    simulator = search(PLAIN)
    searcher = simulator.study.plan.searchers["found"]
    searcher.suggest(99, list(simulator.study.trials.values()))
    stopped = [t for t in simulator.study.trials.values() if t.status == "stopped"]
    known = {t.params["learning_rate"]: t for t in searcher.study().trials if t.params}
    assert stopped
    for trial in stopped:
        frozen = known[trial.sampled["learning_rate"]]
        assert frozen.state == TrialState.COMPLETE
        assert frozen.value == max(trial.curve.values())


def test_the_same_seed_suggests_the_same_trials_with_conditions_too():
    once, again = (
        [dict(trial.sampled) for trial in search(SEARCH).study.trials.values()] for _ in range(2)
    )
    assert once == again
    assert all(("label_smoothing" in s) == (s["model_name"] == "small") for s in once)
