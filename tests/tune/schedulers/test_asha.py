import math

import pytest

from raytune_ocr.results.decision import CONTINUE, STOP
from raytune_ocr.tune.schedulers.asha import ASHA
from tests.fixtures.simulated import by_name, restored, simulated


def report(scheduler, name, epoch, score, max_epochs=10):
    """The decision on a trial whose best score came at that epoch; None: it is not judged."""
    trial = simulated(name, max_epochs)
    trial.curve = {epoch: score}
    decision = scheduler.report(trial, by_name(trial))
    if decision is not None:
        scheduler.apply(decision)
    return decision


def stops(scheduler, *arguments, **keywords):
    decision = report(scheduler, *arguments, **keywords)
    return decision is not None and decision.decision == STOP


def test_the_first_trial_at_a_rung_continues_and_a_worse_one_stops():
    scheduler = restored(ASHA)
    assert not stops(scheduler, "a", 2, 0.5)
    assert stops(scheduler, "b", 2, 0.4)
    assert not stops(scheduler, "c", 2, 0.6)


def test_the_best_score_of_all_epochs_so_far_is_judged():
    scheduler = restored(ASHA)
    stops(scheduler, "a", 2, 0.5)
    trial = simulated("b", curve=[0.9, 0.1])
    assert scheduler.report(trial, by_name(trial)).decision == CONTINUE


def test_no_trial_is_judged_between_rungs():
    scheduler = restored(ASHA)
    stops(scheduler, "a", 2, 0.5)
    assert all(report(scheduler, "b", epoch, 0.0) is None for epoch in (1, 3, 5))


def test_a_short_trial_is_not_stopped_on_its_last_epoch():
    scheduler = restored(ASHA)
    stops(scheduler, "a", 2, 0.5)
    assert not stops(scheduler, "b", 2, 0.1, max_epochs=2)


def test_nan_is_stopped_and_spoils_no_rung():
    scheduler = restored(ASHA)
    assert not stops(scheduler, "a", 2, math.nan)
    assert not stops(scheduler, "b", 2, 0.3)
    assert stops(scheduler, "c", 2, math.nan)


def test_a_score_that_is_not_finite_is_no_number_of_json():
    decision = report(restored(ASHA), "a", 2, math.nan)
    assert decision.state == {"score": None}
    assert stops(restored(ASHA, [decision, report(restored(ASHA), "b", 2, 0.3)]), "c", 2, 0.2)


@pytest.mark.parametrize("restart_after", [0, 1, 2, 3, 4])
def test_a_restarted_scheduler_decides_as_one_that_was_not(restart_after):
    reports = [("a", 2, 0.5), ("b", 2, 0.45), ("c", 2, 0.7), ("a", 4, 0.6), ("c", 4, 0.5)]
    whole = restored(ASHA)
    expected = [report(whole, *each) for each in reports]
    scheduler, decided = restored(ASHA), []
    for number, each in enumerate(reports):
        if number == restart_after:
            scheduler = restored(ASHA, decided)
        decided.append(report(scheduler, *each))
    assert decided == expected
    actions = [CONTINUE, STOP, CONTINUE, CONTINUE, STOP]
    assert [decision.decision for decision in decided] == actions


def test_a_resumed_trial_does_not_back_fill_lower_rungs():
    scheduler = restored(ASHA)
    assert not stops(scheduler, "late", 9, 0.99)
    assert not stops(scheduler, "fresh", 2, 0.1)


def test_a_trial_is_judged_once_at_a_rung_however_often_it_trains_that_epoch():
    scheduler = restored(ASHA)
    first = report(scheduler, "a", 2, 0.5)
    assert first.decision == CONTINUE and report(scheduler, "a", 2, 0.1) is None
    assert report(restored(ASHA, [first]), "a", 2, 0.1) is None
