import math

from raytune_ocr.tune.registries import SCHEDULERS
from raytune_ocr.tune.schedulers.base import best_score, epochs_of, living
from raytune_ocr.tune.schedulers.fifo import FIFO
from tests.fixtures.simulated import by_name, next_name, restored, simulated


def test_pending_trials_train_in_order_each_to_its_end():
    trials = by_name(simulated("b"), simulated("a"), simulated("c"))
    scheduler = restored(FIFO)
    assert next_name(scheduler, trials) == "b"
    assert next_name(scheduler, trials, active=["b"]) == "a"
    assert scheduler.next_milestone(trials["b"]) is None
    assert scheduler.report(trials["b"], trials) is None and scheduler.decide(trials) == []
    for trial in trials.values():
        trial.stop()
    assert next_name(scheduler, trials) is None


def test_a_new_trial_is_asked_for_once_none_is_pending():
    class NewTrials:
        def suggest(self):
            return simulated("new")

    scheduler, pending = restored(FIFO), by_name(simulated("a"))
    assert scheduler.next(pending, pending, NewTrials()).trial.name == "a"
    assert scheduler.next({}, pending, NewTrials()).trial.name == "new"


def test_the_best_score_is_of_a_span_of_epochs_and_never_nan():
    trial = simulated("a", curve=[0.9, math.nan, 0.3, 0.5])
    assert best_score(trial) == 0.9
    assert best_score(trial, 2) == 0.5
    assert best_score(trial, 2, 3) == 0.3
    assert best_score(trial, 2, 2) == -math.inf == best_score(simulated("b"))


def test_a_trial_lives_until_it_is_finished():
    trials = by_name(simulated("a", curve=[0.1, 0.2]), simulated("b"))
    assert (epochs_of(trials["a"]), epochs_of(trials["b"])) == (2, 0)
    trials["a"].pause()
    assert [trial.name for trial in living(trials)] == ["a", "b"]
    assert [t.name for t in living(trials, lambda trial: bool(trial.curve))] == ["a"]
    trials["a"].stop()
    assert [trial.name for trial in living(trials)] == ["b"]


def test_every_scheduler_has_the_name_of_its_registry_and_says_who_made_its_decisions():
    for name in SCHEDULERS.names():
        scheduler = restored(SCHEDULERS[name])
        assert scheduler.name == name
        assert scheduler._decision("a", 1, "STOP").scheduler == name
