import math

import pytest
from ray.tune.schedulers import TrialScheduler

from raytune_ocr.tune.schedulers import PersistentASHA, rung_epochs
from raytune_ocr.tune.state import RunState


def asha(tmp_path, **settings):
    options = {"grace_period": 2, "reduction_factor": 2, "max_epochs": 10, **settings}
    state = RunState(tmp_path)
    state.notes = state.read().notes
    state.rewrite({}, {})
    return PersistentASHA(state, **options)


def stops(scheduler, name, epoch, score, num_epochs=10):
    result = {
        "experiment_name": name,
        "epoch": epoch,
        "best_score": score,
        "num_epochs": num_epochs,
    }
    return scheduler.on_trial_result(None, None, result) == TrialScheduler.STOP


def test_rungs_grow_by_the_reduction_factor():
    assert rung_epochs(3, 2, 100) == [3, 6, 12, 24, 48, 96]


def test_the_first_at_a_rung_goes_on_and_a_worse_one_stops(tmp_path):
    scheduler = asha(tmp_path)
    assert not stops(scheduler, "a", 2, 0.5)
    assert stops(scheduler, "b", 2, 0.4)
    assert not stops(scheduler, "c", 2, 0.6)


def test_between_rungs_nobody_is_judged(tmp_path):
    scheduler = asha(tmp_path)
    stops(scheduler, "a", 2, 0.5)
    assert not any(stops(scheduler, "b", epoch, 0.0) for epoch in (1, 3, 5))


def test_a_short_trial_is_not_stopped_on_its_last_epoch(tmp_path):
    scheduler = asha(tmp_path)
    stops(scheduler, "a", 2, 0.5)
    assert not stops(scheduler, "b", 2, 0.1, num_epochs=2)


def test_nan_is_stopped_and_spoils_no_rung(tmp_path):
    scheduler = asha(tmp_path)
    assert not stops(scheduler, "a", 2, math.nan)
    assert not stops(scheduler, "b", 2, 0.3)
    assert stops(scheduler, "c", 2, math.nan)


@pytest.mark.parametrize("restart_after", [0, 1, 2, 3])
def test_a_restarted_scheduler_decides_as_one_that_was_not(tmp_path, restart_after):
    reports = [("a", 2, 0.5), ("b", 2, 0.45), ("c", 2, 0.7), ("a", 4, 0.6), ("c", 4, 0.5)]
    (tmp_path / "whole").mkdir()
    whole = asha(tmp_path / "whole")
    expected = [stops(whole, *report) for report in reports]
    scheduler = asha(tmp_path)
    decided = []
    for number, report in enumerate(reports):
        if number == restart_after:
            scheduler = asha(tmp_path)
        decided.append(stops(scheduler, *report))
    assert decided == expected == [False, True, False, False, True]


def test_a_resumed_trial_does_not_back_fill_lower_rungs(tmp_path):
    scheduler = asha(tmp_path)
    assert not stops(scheduler, "late", 9, 0.99)
    assert not stops(scheduler, "fresh", 2, 0.1)


def test_a_stopped_trial_that_comes_again_is_stopped_again(tmp_path):
    scheduler = asha(tmp_path)
    stops(scheduler, "a", 2, 0.5)
    assert stops(scheduler, "b", 2, 0.4)
    assert stops(asha(tmp_path), "b", 2, 0.4)
