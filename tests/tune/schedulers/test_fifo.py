from raytune_ocr.tune.schedulers.fifo import FIFO
from tests.fixtures.simulated import by_name, next_name, setup, simulated, train


def test_trials_train_in_order_and_each_to_its_end():
    scheduler, trials = FIFO(setup()), by_name(simulated("a"), simulated("b"))
    assert next_name(scheduler, trials) == "a"
    assert next_name(scheduler, trials, active=["a"]) == "b"
    assert scheduler.next_milestone(trials["a"]) is None
    for trial, score in zip(trials.values(), (0.1, 0.9), strict=True):
        train(trial, 6, score)
        assert scheduler.report(trial, trials) is None
        assert list(scheduler.decide(trials)) == []
