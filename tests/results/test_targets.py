import math

import pytest

from raytune_ocr.results.targets import Target, compare_with_targets


def test_targets_are_met_from_above_and_times_from_below():
    result = {"best_val_char_accuracy": 0.9, "train_time_per_epoch": 30.0, "best_epoch": 5}
    goals = {"character_accuracy": 0.85, "training_time_per_epoch": 20, "convergence_epochs": 5}
    compared = compare_with_targets(result, goals)
    assert {name: row["met"] for name, row in compared.items()} == {
        "character_accuracy": True,
        "training_time_per_epoch": False,
        "convergence_epochs": True,
    }
    assert compared["training_time_per_epoch"] == {"goal": 20, "value": 30.0, "met": False}


def test_a_target_that_nothing_is_known_of_is_not_met():
    compared = compare_with_targets({"best_val_char_accuracy": None}, {"character_accuracy": 0.1})
    assert compared["character_accuracy"] == {"goal": 0.1, "value": None, "met": False}
    assert compare_with_targets({}, {}) == {}


@pytest.mark.parametrize(
    ("name", "best", "reached"),
    [
        ("character_accuracy", {"val_char_accuracy": 0.9}, True),
        ("character_accuracy", {"val_char_accuracy": 0.89}, False),
        ("val_loss", {"val_loss": 0.9}, True),
        ("val_loss", {"val_loss": 0.91}, False),
        ("val_loss", {"val_loss": math.nan}, False),
        ("val_loss", {}, False),
    ],
)
def test_a_target_is_reached_in_the_direction_of_its_metric(name, best, reached):
    assert Target(name, 0.9).reached(best) is reached


def test_a_target_reads_as_it_is_written_on_the_command_line():
    assert str(Target("val_loss", 0.5)) == "val_loss=0.5"
