import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.execution.console import ProgressReport, time_left, visible
from tests.fixtures.materials import train_record


def records(**statuses):
    return [
        TrialRecord(TrainingConfig(experiment_name=name), status=status)
        for name, status in statuses.items()
    ]


def test_a_table_with_room_shows_all_trials():
    some = records(a="pending", b="running")
    assert visible(some, 2) == some


def test_a_table_of_many_trials_shows_first_those_that_run():
    many = records(a="completed", b="pending", c="running", d="completed", e="failed")
    assert [record.name for record in visible(many, 4)] == ["a", "c", "e"]
    assert [record.name for record in visible(many, 0)] == ["c"]


@pytest.mark.parametrize("quiet", [True, False])
def test_a_failed_trial_is_told_with_its_cause_even_if_nothing_else_is(quiet, capsys):
    some = {record.name: record for record in records(a="running", b="failed")}
    some["b"].error_message = "No module named 'mine'"
    report = ProgressReport(some, quiet)
    with report:
        for record in [*some.values(), *some.values()]:
            report.update(record)
    told = capsys.readouterr()
    failed = told.err if quiet else told.out
    assert failed.count("b ") == failed.count("No module named 'mine'") == 1
    assert ("running" in told.out) is not quiet


@pytest.mark.parametrize(
    ("epochs", "told"),
    [(61, "01:00"), (3600, "59:59"), (3601, "01:00:00"), (90_001, "25:00:00")],
)
def test_the_time_that_is_left_is_told_in_hours_even_if_it_is_days(epochs, told):
    record = TrialRecord(TrainingConfig(num_epochs=epochs), "running")
    train_record(record, 1, 0.5)  # in one second
    assert time_left(record) == told
