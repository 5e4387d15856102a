import time

import pytest

from raytune_ocr.config.prices import Prices
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.record import TARGET, TIME_BUDGET, TrialRecord
from raytune_ocr.results.targets import Target
from raytune_ocr.tune.execution.budget import Budget, most_trials


def record(*accuracies, status="running"):
    made = TrialRecord(TrainingConfig(experiment_name="a"), status=status)
    for epoch, value in enumerate(accuracies, 1):
        made.epochs.append({"epoch": epoch, "val_char_accuracy": value, "val_cer": 1 - value})
    return made


def test_without_limits_a_run_is_never_over():
    budget = Budget()
    budget.start([record(1.0)])
    assert not budget.spent() and budget.reason == ""


def test_time_ends_a_run():
    budget = Budget(seconds=0.05)
    budget.start([])
    time.sleep(0.06)
    assert not budget.spent()  # not before it begins
    budget.begin()
    assert not budget.spent()
    time.sleep(0.06)
    assert budget.spent() and budget.reason == "time_budget"


def test_a_target_counts_whenever_it_was_reached_and_errors_count_downwards():
    assert Target("character_accuracy", 0.9).reached(record(0.5, 0.9, 0.4).best)
    assert not Target("character_accuracy", 0.91).reached(record(0.5, 0.9).best)
    assert Target("val_cer", 0.2).reached(record(0.5, 0.9).best)
    assert not Target("val_cer", 0.05).reached(record(0.5, 0.9).best)
    assert not Target("val_accuracy", 0.0).reached(record(0.5).best) and not Target(
        "character_accuracy", 0.1
    ).reached(record().best)


def test_a_target_that_was_reached_before_ends_a_resumed_run_at_once():
    budget = Budget(target=Target("character_accuracy", 0.8))
    budget.start([record(0.9, status="completed")])
    assert budget.spent() and budget.reason == "target"


def test_trials_under_way_are_cut_and_a_resume_is_not_over_with_them():
    budget = Budget(seconds=0.0001)
    running, begun, done = record(0.5), record(), record(0.7, status="completed")
    done.stop_reason = "max_epochs"
    budget.start([])
    budget.begin()
    time.sleep(0.001)
    assert budget.spent()
    budget.cut([running, begun, done])
    assert (running.status, running.stop_reason, running.is_over) == (
        *("completed", "time_budget"),
        False,
    )
    assert (begun.status, begun.stop_reason) == ("pending", "")
    assert done.stop_reason == "max_epochs" and done.is_over


def test_what_confirms_a_winner_continues_after_the_target_but_not_after_the_time():
    budget = Budget(seconds=0.05, target=Target("character_accuracy", 0.8))
    budget.start([record(0.9, status="completed")])
    budget.begin()
    assert budget.spent() and not budget.is_exhausted()
    time.sleep(0.06)
    assert budget.is_exhausted() and budget.reason == "time_budget"
    confirming = record(0.9)
    confirming.confirms = "a"
    budget.cut([confirming])
    assert (confirming.status, confirming.stop_reason) == ("pending", "")


def test_a_cut_trial_that_reached_the_target_of_the_resumed_run_stays_in_its_results():
    budget = Budget(target=Target("character_accuracy", 0.8))
    resumed = record(0.9, status="pending")
    budget.start([resumed])
    budget.cut([resumed])
    assert (resumed.status, resumed.stop_reason) == ("completed", "target")


def test_what_ended_a_run_is_reported_in_words():
    budget = Budget(60.0, Target("character_accuracy", 0.9))
    assert budget.ended_by(3) == ""
    budget.reason = TIME_BUDGET
    assert budget.ended_by(3) == "the time budget of 60 s is spent, 3 trials not started"
    assert budget.ended_by(0) == "the time budget of 60 s is spent, no trial is left"
    budget.reason = TARGET
    assert budget.ended_by(0).startswith("the target character_accuracy=0.9 is reached")


@pytest.mark.parametrize(("most", "message"), [(None, False), (5, True), (6, False), (10, False)])
def test_a_limit_of_trials_has_ended_a_run_that_could_have_more(most, message):
    assert bool(most_trials(most, begun=5, size=10)) is message
    assert most_trials(5, begun=5, size=5) == ""


def test_money_ends_a_run_and_what_was_spent_before_a_resume_counts():
    budget = Budget(max_cost=2.0)
    budget.prices = Prices(cpu_hour=1.0)
    spent = record(0.5, status="completed")
    spent.epochs[0] |= {"seconds": 3600.0, "cpus": 1.0, "gpus": 0.0}
    budget.start([spent])
    assert not budget.spent()
    running = record(0.5)
    running.config = TrainingConfig(experiment_name="b")
    running.epochs[0] |= {"seconds": 3600.0, "cpus": 1.5, "gpus": 0.0}
    budget.note(running)
    assert budget.spent() and budget.reason == "max_cost"
    budget.cut([running])
    assert (running.stop_reason, running.is_over) == ("max_cost", False)
    assert budget.ended_by(0).startswith("--max-cost 2 is spent")


def test_limits_can_change_while_the_run_continues_but_not_below_what_is_spent():
    budget = Budget(seconds=1000.0)
    budget.begin()
    with pytest.raises(ConfigurationError, match="seconds: must be above 0"):
        budget.limit(1e-9, None)
    with pytest.raises(ConfigurationError, match="names no prices"):
        budget.limit(None, 3.0)
    budget.limit(None, 3.0, check=False)
    assert (budget.seconds, budget.max_cost) == (1000.0, 3.0)
    budget.limit(1e-9, None, check=False)
    assert budget.is_exhausted() and budget.reason == TIME_BUDGET
