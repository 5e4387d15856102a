from raytune_ocr.config import TrainingConfig
from raytune_ocr.tune.report import visible
from raytune_ocr.tune.results import TrialRecord


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
