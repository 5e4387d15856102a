"""The live table shows what differs, and on a narrow terminal less of it."""

import io

from rich.console import Console

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.execution.terminal.live_table import (
    columns_that_fit,
    differing,
    heading,
    live_table,
    visible,
    waiting_words,
)
from tests.fixtures.materials import train_record


def trials():
    made = [
        TrialRecord(TrainingConfig(experiment_name=name, learning_rate=rate, num_epochs=10))
        for name, rate in (("fast", 0.1), ("slow", 0.001))
    ]
    for record, value in zip(made, (0.5, 0.8), strict=True):
        train_record(record, 2, value)
        record.status = "running"
    return made


def test_settings_that_differ_are_columns():
    columns = columns_that_fit(trials(), 200)
    assert columns["learning_rate"] == ["0.1", "0.001"] and "batch_size" not in columns
    assert differing([{"lr": 1, "seed": 1}, {"lr": 2, "seed": 1}]) == ["lr"]


def test_a_narrow_terminal_drops_columns_and_keeps_the_meaning():
    for width in (200, 80, 60, 45, 30):
        columns = columns_that_fit(trials(), width)
        assert {"trial", "epoch", "best", "state"} <= set(columns)
        sizes = [max(map(len, (name, *cells))) + 2 for name, cells in columns.items()]
        assert sum(sizes) - 2 <= max(width, 30)
    assert "learning_rate" not in columns


def test_the_heading_says_what_is_best_how_long_it_takes_and_what_is_waited_for():
    output = heading(trials(), 65.0, "2 queued: all CPUs busy")
    assert output.startswith("best so far: slow with ")
    assert "elapsed 01:05; about 00:08 left; 2 queued: all CPUs busy" in output


def test_a_parameter_named_like_a_column_has_one_of_its_own():
    trials = [
        TrialRecord(TrainingConfig(experiment_name=name, parameters={"loss": value}))
        for name, value in (("a", 1), ("b", 2))
    ]
    columns = columns_that_fit(trials, 200)
    assert columns["parameters.loss"] == ["1", "2"] and columns["best"] == ["-", "-"]


def test_every_cause_of_waiting_is_counted():
    states = ["running", "pending", "pending", "paused"]
    trials = [TrialRecord(TrainingConfig(experiment_name=str(number))) for number in range(4)]
    for trial, state in zip(trials, states, strict=True):
        trial.status = state
    assert waiting_words(trials, "for 2 CPUs").startswith(
        "2 queued: the first one waits for 2 CPUs"
    )
    words = waiting_words(trials, "")
    assert words.startswith("2 queued: 1 running trials have the slots; 1 paused: ")
    assert waiting_words(trials[1:3], "") == ""  # they are about to start


def test_trials_that_do_not_fit_are_counted_paused_ones_too():
    many = [*trials(), *(TrialRecord(TrainingConfig(experiment_name=f"t{n}")) for n in range(9))]
    many[3].status = "paused"
    assert [record.name for record in visible(many, 4)] == ["fast", "slow", "t1"]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(live_table(many, 80, 8, "a run"))
    assert "and 8 more" in console.export_text()
