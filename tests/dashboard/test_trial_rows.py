import math

import pytest

from raytune_ocr.dashboard.trial_rows import (
    best_row,
    curve_of,
    idle_times,
    info_of,
    is_drawn,
    metrics_of,
    monitor_of,
    settings_of,
    short,
)
from raytune_ocr.results.replay import TrialState

CONFIG = {"early_stopping_monitor": "val_mae", "early_stopping_mode": "min", "num_epochs": 5}


def state(*values, **more):
    rows = [
        {"epoch": n, "val_mae": value, "seconds": 2.0, "cpus": 2.0, "ended_at": 100.0 + 2 * n}
        for n, value in enumerate(values, 1)
    ]
    return TrialState(epochs=rows, config={**CONFIG, **more})


def test_settings_are_flat_and_those_of_a_clone_are_its_last():
    changes = [{"after_epoch": 1, "learning_rate": 0.5}, {"after_epoch": 2, "learning_rate": 9.0}]
    trial = state(0.1, 0.2, learning_rate=0.1, parameters={"lr": 1}, betas=[1, 2], changes=changes)
    settings = settings_of(trial)
    assert settings["learning_rate"] == 0.5
    assert settings["parameters.lr"] == 1 and settings["betas"] == "1, 2"
    assert "changes" not in settings and "output_dir" not in settings


def test_the_best_epoch_is_the_one_of_the_monitored_metric_in_its_direction():
    assert best_row(state(0.3, 0.1, math.nan, 0.2))["epoch"] == 2
    assert best_row(state(0.3, 0.1, early_stopping_mode="max"))["epoch"] == 1
    assert best_row(state(math.nan)) == {}


def test_a_mode_that_is_not_given_is_that_of_the_name():
    assert monitor_of(TrialState(config={"early_stopping_monitor": "val_loss"})) == (
        "val_loss",
        "min",
    )


def test_nothing_is_best_where_neither_a_mode_nor_the_name_tells_the_direction():
    unknown = {"early_stopping_monitor": "quality", "early_stopping_mode": ""}
    trial = TrialState(epochs=[{"epoch": 1, "quality": 0.5}], config=unknown)
    assert monitor_of(trial) == ("quality", "") and best_row(trial) == {}
    trial.config["early_stopping_mode"] = "max"
    assert best_row(trial)["epoch"] == 1


def test_a_row_has_the_cost_and_the_times_of_a_trial():
    info = info_of("one", state(0.3, 0.1), ("", 0))
    assert (info["score"], info["best_epoch"], info["epochs"], info["max_epochs"]) == (0.1, 2, 2, 5)
    assert (info["began"], info["ended"], info["seconds"]) == (100.0, 104.0, 4.0)
    assert info["cpu_hours"] == pytest.approx(8 / 3600) and info["gpu_hours"] is None


def test_the_epochs_that_a_clone_shares_with_its_parent_cost_it_nothing():
    info = info_of("clone", state(0.3, 0.1), ("parent", 1))
    assert (info["parent"], info["seconds"]) == ("parent", 2.0)


def test_a_curve_has_the_time_and_cost_until_each_epoch():
    curve = curve_of(state(0.3, math.inf), "val_mae")
    assert curve["epoch"] == [1, 2] and curve["value"] == [0.3, None]
    assert curve["seconds"] == [2.0, 4.0]
    assert curve["cpu_hours"][1] == pytest.approx(8 / 3600, rel=1e-6)


def test_no_cost_is_made_up_where_an_epoch_does_not_say_what_was_reserved():
    trial = state(0.3, 0.2)
    del trial.epochs[1]["cpus"]
    curve = curve_of(trial, "val_mae")
    assert curve["cpu_hours"] == [pytest.approx(4 / 3600), None]
    assert curve["gpu_hours"] == [None, None]


def test_numbers_are_short_and_other_values_as_they_are():
    assert short(1 / 3) == 0.3333333 and short(math.nan) is None and short("a") == "a"


def test_metrics_are_what_epochs_report_besides_names_and_times():
    assert list(metrics_of(state(0.1).epochs)) == ["val_mae", "seconds", "cpus"]


def test_a_part_of_a_drawn_mapping_is_drawn():
    assert is_drawn("model_options.hidden", {"model_options"}) and is_drawn("a", {"a"})
    assert not is_drawn("model_optionsx", {"model_options"})


def test_a_trial_is_idle_from_the_end_of_an_epoch_to_the_start_of_the_next_one():
    trial = state(0.3, 0.2, 0.1)
    assert idle_times(trial) == []
    trial.epochs[2]["ended_at"] += 60.0
    assert idle_times(trial) == [[104.0, 164.0]]
    trial.epochs[1]["ended_at"] += 0.5  # the state was saved
    assert [len(each) for each in idle_times(trial)] == [2]
    for row in trial.epochs:
        del row["ended_at"]  # of an earlier version
    assert idle_times(trial) == []
