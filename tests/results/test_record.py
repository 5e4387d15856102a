"""What a trial's record makes of reports, and what schedulers see of it."""

import math
from types import SimpleNamespace

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.models.describe import work
from raytune_ocr.results.document import result_of
from raytune_ocr.results.record import TrialRecord
from tests.fixtures.materials import train_record


def record_of(name="a", **settings):
    return TrialRecord(TrainingConfig(experiment_name=name, **settings))


def row(epoch, **figures):
    return {"epoch": epoch, "train_loss": 1.0, "seconds": 1.0, **figures}


def test_a_report_adds_a_row_of_the_columns_that_are_known():
    record = record_of()
    record.add({**row(1, val_loss=0.5), "experiment_name": "other", "pid": 5, "threads": 2})
    (added,) = record.epochs
    assert added == {**row(1, val_loss=0.5), "experiment_name": "a", "threads": 2}
    assert record.unsaved == [added] and record.used == {"threads": 2}
    record.add({"stop_reason": "error"})  # the end of a trial, without an epoch
    assert len(record.epochs) == 1


def test_an_epoch_that_is_trained_again_replaces_it_and_all_after_it():
    record = record_of()
    for epoch, loss in ((1, 0.5), (2, 0.4), (3, 0.3), (2, 0.1)):
        record.add(row(epoch, val_loss=loss))
    assert [(one["epoch"], one["val_loss"]) for one in record.epochs] == [(1, 0.5), (2, 0.1)]


@pytest.mark.parametrize(("monitor", "sign"), [("val_char_accuracy", 1), ("val_loss", -1)])
def test_its_curve_is_what_is_monitored_and_higher_is_better(monitor, sign):
    mode = "max" if sign == 1 else "min"
    record = record_of(early_stopping_monitor=monitor, early_stopping_mode=mode)
    for epoch, value in ((1, 0.5), (2, 0.25)):
        record.add(row(epoch, **{monitor: value}))
    assert record.curve == {1: sign * 0.5, 2: sign * 0.25}
    record.add(row(2, **{monitor: 0.75}))
    assert record.curve == {1: sign * 0.5, 2: sign * 0.75}
    record.add(row(3))
    assert math.isnan(record.curve[3])


def test_its_curve_follows_rows_that_are_set_from_elsewhere():
    record = record_of()
    assert record.curve == {}
    train_record(record, 3, 0.5)
    assert list(record.curve) == [1, 2, 3]
    record.epochs = record.epochs[:1]
    assert list(record.curve) == [1]
    record.epochs = []
    assert record.curve == {}


def test_the_curve_of_a_long_training_is_not_read_anew_with_each_report():
    record, read = record_of(), []
    train_record(record, 50, 0.5)
    assert len(record.curve) == 50
    record._point = lambda one: read.append(one["epoch"]) or (one["epoch"], 0.5)
    for epoch in range(51, 101):
        record.add(row(epoch))
        assert len(record.curve) == epoch
    assert read == list(range(51, 101))


def test_how_it_ended_is_what_schedulers_see():
    completed, failed, stopped, paused, cut = (record_of(name) for name in "abcde")
    completed.complete("max_epochs")
    failed.fail("no memory")
    stopped.stop()
    paused.pause()
    cut.complete("time_budget")
    seen = {r.name: (r.is_finished, r.failed, r.is_over) for r in (completed, failed, stopped)}
    assert seen == {"a": (True, False, True), "b": (True, True, True), "c": (True, False, True)}
    assert (failed.stop_reason, failed.error_message) == ("error", "no memory")
    assert (stopped.status, stopped.stop_reason) == ("completed", "scheduler")
    assert (paused.is_finished, paused.is_over) == (False, False)
    assert (cut.is_finished, cut.is_over) == (True, False)  # a resume trains it on


def test_schedulers_see_its_length_its_cost_and_the_settings_of_an_epoch():
    record = record_of(num_epochs=7, model_name="small", learning_rate=0.1)
    record.config.changes = [{"after_epoch": 3, "learning_rate": 0.01}]
    assert (record.max_epochs, record.size) == (7, work("small"))
    rates = [record.settings_after(epoch)["learning_rate"] for epoch in (2, 3, 5)]
    assert rates == [0.1, 0.01, 0.01]


def test_its_entry_of_the_json_tells_what_it_was_reported():
    record = record_of(seed=3)
    train_record(record, 2, 0.5)
    record.search, record.sampled = "found", {"learning_rate": 0.1}
    record.parent, record.parent_epoch = "b", 1
    record.fail("no memory")
    entry = SimpleNamespace(**result_of(record))
    assert (entry.status, entry.error_message, entry.stop_reason) == (
        *("failed", "no memory", "error"),
    )
    assert (entry.search, entry.sampled, entry.parent, entry.parent_epoch) == (
        *("found", {"learning_rate": 0.1}, "b", 1),
    )
    assert (entry.total_epochs, entry.training_time, entry.seed) == (2, 2.0, 3)
    assert entry.hyperparameters["learning_rate"] == 0.1 and entry.checkpoint is None
