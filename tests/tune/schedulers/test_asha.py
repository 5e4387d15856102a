import math

import pytest
from ray.tune.schedulers import TrialScheduler

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.schedulers.asha import AsyncHyperBand, PersistentASHA
from raytune_ocr.tune.schedulers.median import MedianRule


def opened(folder):
    state = Journal(folder)
    state.notes = state.read().notes
    state.rewrite({}, {})
    return state


def asha(tmp_path, kind=PersistentASHA, **settings):
    options = {"grace_period": 2, "reduction_factor": 2, "max_epochs": 10, **settings}
    return kind(opened(tmp_path), **options)


def stops(scheduler, name, epoch, score, num_epochs=10):
    result = {
        "experiment_name": name,
        "epoch": epoch,
        "best_score": score,
        "num_epochs": num_epochs,
    }
    return scheduler.on_trial_result(None, None, result) == TrialScheduler.STOP


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


def test_hyperband_spares_some_trials_the_early_rungs(tmp_path):
    scheduler = asha(tmp_path, kind=AsyncHyperBand)  # rungs at 2, 4 and 8
    names = [f"found_{number:04d}" for number in range(1, 401)]
    counts = [sum(scheduler.bracket(name) == b for name in names) for b in range(4)]
    assert sum(counts) == 400 and counts[0] > counts[1] > 40 and min(counts) > 20
    early = next(name for name in names if scheduler.bracket(name) == 0)
    late = next(name for name in names if scheduler.bracket(name) == 2)
    assert [e for e in range(11) if scheduler.judges(early, e)] == [2, 4, 8]
    assert [e for e in range(11) if scheduler.judges(late, e)] == [8]


def test_hyperband_compares_within_a_bracket_only(tmp_path):
    scheduler = asha(tmp_path, kind=AsyncHyperBand)
    names = [f"found_{number:04d}" for number in range(1, 99)]
    first = [name for name in names if scheduler.bracket(name) == 0]
    second = [name for name in names if scheduler.bracket(name) == 1]
    assert not stops(scheduler, first[0], 4, 0.9)
    assert not stops(scheduler, second[0], 4, 0.1)
    assert stops(scheduler, first[1], 4, 0.8)
    assert stops(asha(tmp_path, kind=AsyncHyperBand), first[2], 4, 0.8)


def median_rule(folder, curves):
    records = {}
    for name, scores in curves.items():
        records[name] = TrialRecord(TrainingConfig(experiment_name=name))
        for epoch, score in enumerate(scores, 1):
            records[name].epochs.append({"epoch": epoch, "val_char_accuracy": score})
    return MedianRule(opened(folder), records, grace_period=2)


CURVES = {"a": [0.2, 0.4, 0.6], "b": [0.1, 0.3, 0.5], "c": [0.3, 0.3, 0.3], "d": [0.0]}


def test_the_median_rule_stops_who_is_below_the_others_means(tmp_path):
    rule = median_rule(tmp_path, CURVES)
    assert not stops(rule, "e", 1, 0.0)  # before the grace period
    assert not stops(rule, "e", 2, 0.31)  # the others' means are 0.2, 0.3 and 0.3
    assert stops(rule, "e", 2, 0.29)
    assert stops(rule, "e", 3, 0.9)
    assert stops(median_rule(tmp_path, CURVES), "e", 2, 0.9)  # noted


def test_the_median_rule_waits_for_enough_others_and_spares_the_last_epoch(tmp_path):
    rule = median_rule(tmp_path, CURVES)
    assert not stops(rule, "a", 2, 0.0)  # two others came as far
    assert not stops(rule, "e", 3, 0.0, num_epochs=3)
    assert stops(rule, "f", 2, math.nan)
