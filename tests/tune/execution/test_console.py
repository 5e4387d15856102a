import io
import time

import pytest
from rich.console import Console

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.results.aggregate import trials_table
from raytune_ocr.results.document import results_document
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tasks.base import REPORTED
from raytune_ocr.tune.execution.console import ProgressReport, summary
from raytune_ocr.tune.execution.recording.throttle import Throttle
from raytune_ocr.tune.execution.terminal.live_table import (
    columns_that_fit,
    plain_line,
    time_left,
    visible,
)
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
def test_a_failed_trial_is_reported_with_its_cause_even_if_nothing_else_is(quiet, capsys):
    some = {record.name: record for record in records(a="running", b="failed")}
    some["b"].error_message = "No module named 'mine'"
    report = ProgressReport(some, quiet)
    with report:
        for record in [*some.values(), *some.values()]:
            report.update(record)
    output = capsys.readouterr()
    failed = output.err if quiet else output.out
    assert failed.count("b ") == failed.count("No module named 'mine'") == 1
    assert ("running" in output.out) is not quiet


@pytest.mark.parametrize(
    ("epochs", "message"),
    [(61, "01:00"), (3600, "59:59"), (3601, "01:00:00"), (90_001, "25:00:00")],
)
def test_the_time_that_is_left_is_reported_in_hours_even_if_it_is_days(epochs, message):
    record = TrialRecord(TrainingConfig(num_epochs=epochs), status="running")
    train_record(record, 1, 0.5)  # in one second
    assert time_left(record) == message


def test_a_function_that_reports_no_loss_has_no_column_of_it(capsys):
    config = {"trainable": "mine:train", "early_stopping_monitor": "val_mae"}
    own = TrialRecord(
        TrainingConfig(experiment_name="own", early_stopping_mode="min", **config), status="running"
    )
    assert "loss" not in plain_line(own) and "mae -" in plain_line(own)
    names = [{REPORTED: ["val_mae"]}, {REPORTED: ["val_mae", "train_loss"]}]
    assert "loss" not in columns_that_fit([own], 200)
    own.add({"epoch": 1, "val_mae": 0.25, "seconds": 1.0, **names[0]})
    assert "loss" not in plain_line(own) and "mae 0.2500" in plain_line(own)
    own.add({"epoch": 2, "val_mae": 0.25, "train_loss": 0.5, "seconds": 1.0, **names[1]})
    assert "loss 0.5000  mae 0.2500" in plain_line(own)
    (reader,) = records(reader="running")
    assert "loss -" in plain_line(reader)
    assert columns_that_fit([own, reader], 200)["loss"] == ["0.5000", "-"]


@pytest.fixture
def output(tmp_path):
    """The summary of a run that kept the model of the better one of two trials; a third failed."""
    some = []
    for name, score in (("good", 0.9), ("better", 0.95), ("lost", 0.5)):
        some.append(TrialRecord(TrainingConfig(experiment_name=name, output_dir=str(tmp_path))))
        train_record(some[-1], 2, score)
        some[-1].complete("max_epochs")
    some[2].fail("out of luck")
    log = tmp_path / "lost" / "logs" / "error.log"
    log.parent.mkdir(parents=True)
    log.touch()
    table = trials_table(some, targets := {"character_accuracy": 0.92}, keep_models=1)
    return summary(some, [("results", "r.json")], results_document(some, targets, "t", table=table))


def test_the_summary_ranks_the_trials_and_compares_the_winner_with_the_targets(output):
    lines = output.splitlines()
    assert [
        line.split()[1] for line in lines if line.startswith("  ") and "max_epochs" in line
    ] == [
        "better",
        "good",
    ]
    assert "Targets of better" in lines
    assert "  character_accuracy       goal 0.92  value 0.95  met" in lines
    assert lines[-1] == "results          r.json"


def test_the_summary_names_the_file_of_a_failed_trials_traceback(output, tmp_path):
    assert "  failed: lost after 2 epochs: out of luck\n" in output
    assert f"traceback in {tmp_path / 'lost' / 'logs' / 'error.log'}\n" in output


def test_the_summary_says_how_many_models_were_removed_and_how_to_keep_them(output):
    assert "Model of 1 trial removed: not among the best 1 (--keep-models keeps more)\n" in output


def test_a_table_is_drawn_each_second_also_without_news(monkeypatch):
    begun, drawn = time.monotonic() - 61, []
    report = ProgressReport({r.name: r for r in records(a="running")}, begun=begun)
    monkeypatch.setattr(report, "_draw", lambda: drawn.append(report._heading()))
    report._throttle = Throttle(seconds=0.0)
    report._drawn = time.monotonic() + 60
    report.refresh()
    assert not drawn
    report._drawn = time.monotonic() - 2
    report.refresh()
    assert len(drawn) == 1 and "elapsed 01:0" in drawn[0]


def test_brackets_and_escapes_of_a_note_are_text(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    report = ProgressReport({record.name: record for record in records(a="running")})
    report.console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with report:
        report.say("me: note: see [/tmp/x] \x1b[2J")
    assert "me: note: see [/tmp/x] \\x1b[2J" in report.console.file.getvalue()
