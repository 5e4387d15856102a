"""When a run's JSON and tables are written: as soon as due, and never all the time."""

import json

import pandas as pd
import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.results.aggregate import Aggregator
from raytune_ocr.results.document import RESULTS_COPY, results_document
from raytune_ocr.results.record import EPOCHS_TABLE, TRIALS_TABLE, TrialRecord
from raytune_ocr.tune.execution.recording import throttle
from raytune_ocr.tune.execution.recording.results_writer import TABLES_SECONDS, ResultsWriter
from tests.fixtures.materials import train_record


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [100.0]
    monkeypatch.setattr(throttle.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def writer(tmp_path, clock):
    """Of a run of two trials; each document takes as long as `seconds_each` says."""
    records = {name: TrialRecord(TrainingConfig(experiment_name=name)) for name in "ab"}

    def document():
        clock[0] += made.seconds_each
        return results_document(list(records.values()), {}, "t")

    (tmp_path / "out").mkdir()
    made = ResultsWriter(tmp_path / "out", tmp_path / "r.json", Aggregator(records, {}), document)
    made.seconds_each = 0.0
    return made


def report(writer, name, epoch, finished=False):
    record = writer.aggregator.records[name]
    train_record(record, epoch, 0.5)
    if finished:
        record.complete("max_epochs")
    writer.note(record)
    writer.write_due()


def rows(writer):
    path = writer.folder / EPOCHS_TABLE
    return len(pd.read_csv(path)) if path.exists() else 0


def completed(writer):
    if not writer.results_file.exists():
        return 0
    results = json.loads(writer.results_file.read_text())["all_results"]
    return sum(result["status"] == "completed" for result in results)


def test_an_epoch_is_in_the_tables_at_once_and_the_next_ones_a_second_later(writer, clock):
    report(writer, "a", 1)
    assert rows(writer) == 1 and completed(writer) == 0
    report(writer, "a", 2)
    assert rows(writer) == 1
    clock[0] += TABLES_SECONDS
    writer.write_due()
    assert rows(writer) == 2
    assert not writer.results_file.exists()


def test_a_finished_trial_is_in_the_json_and_in_its_copy(writer):
    report(writer, "a", 3, finished=True)
    assert completed(writer) == 1
    copy = writer.folder / RESULTS_COPY
    assert copy.read_text() == writer.results_file.read_text()
    assert len(pd.read_csv(writer.folder / TRIALS_TABLE)) == 2


def test_the_json_takes_at_most_a_twentieth_of_the_time(writer, clock):
    writer.seconds_each = 1.0
    report(writer, "a", 1, finished=True)
    report(writer, "b", 1, finished=True)
    clock[0] += 18.9
    writer.write_due()
    assert completed(writer) == 1
    clock[0] += 0.2
    writer.write_due()
    assert completed(writer) == 2


def test_what_is_due_can_be_written_before_its_time_and_not_twice(writer):
    writer.seconds_each = 1.0
    report(writer, "a", 1, finished=True)
    report(writer, "b", 1, finished=True)
    writer.write_finished()
    assert completed(writer) == 2
    writer.results_file.unlink()
    writer.write_finished()
    assert not writer.results_file.exists()
    writer.write_all()
    assert completed(writer) == 2
