import math

from raytune_ocr.results.decision import STOP
from raytune_ocr.tune.schedulers.median import MedianRule, mean_score
from tests.fixtures.simulated import by_name, restored, simulated

CURVES = {"a": [0.2, 0.4, 0.6], "b": [0.1, 0.3, 0.5], "c": [0.3, 0.3, 0.3], "d": [0.0]}


def stops(name, epoch, score, max_epochs=10):
    """Whether a trial with that score, beside `CURVES`, is stopped."""
    trials = by_name(*(simulated(name, curve=curve) for name, curve in CURVES.items()))
    trials[name] = simulated(name, max_epochs)
    trials[name].curve = {epoch: score}
    decision = restored(MedianRule).report(trials[name], trials)
    return decision is not None and decision.decision == STOP


def test_a_trial_below_the_median_of_the_others_means_is_stopped():
    assert not stops("e", 1, 0.0)  # before the grace period
    assert not stops("e", 2, 0.31)  # the others' means are 0.2, 0.3 and 0.3
    assert stops("e", 2, 0.29)
    assert stops("e", 3, 0.29)
    assert not stops("e", 3, 0.41)  # 0.3, 0.3 and 0.4


def test_it_waits_for_enough_others_and_spares_the_last_epoch():
    assert not stops("a", 2, 0.0)  # two others came as far
    assert not stops("e", 3, 0.0, max_epochs=3)
    assert stops("f", 2, math.nan)


def test_a_mean_is_over_the_epochs_up_to_the_one_that_is_judged_without_nan():
    trial = simulated("a", curve=[0.2, math.nan, 0.6, 1.0])
    assert mean_score(trial, 3) == 0.4
    assert math.isnan(mean_score(simulated("b", curve=[math.nan]), 1))
