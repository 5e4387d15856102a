"""Settings of trials as points of the unit cube."""

import math

import numpy as np
import pytest

from raytune_ocr.tune.schedulers.curves.unit_cube import UnitCube
from raytune_ocr.tune.space.domains import Domain
from tests.fixtures.simulated import simulated

DOMAINS = {
    "found": {
        "learning_rate": Domain("loguniform", (1e-4, 1e-2)),
        "dropout": Domain("uniform", (0.0, 0.4)),
        "batch_size": Domain("choice", (16, 32, 128)),
        "optimizer": Domain("choice", ("adam", "sgd")),
        "momentum": Domain("uniform", (0.0, 1.0), when=(("optimizer", ("sgd",)),)),
    }
}


def trial(name="found_0001", **sampled):
    return simulated(name, search="found", sampled=sampled)


def test_numbers_lie_between_their_bounds_lists_by_rank_and_other_values_have_a_column_each():
    cube = UnitCube(DOMAINS)
    place = cube.point(
        trial(learning_rate=1e-3, dropout=0.1, batch_size=32, optimizer="sgd", momentum=0.9)
    )
    assert cube.size == 6
    assert place == pytest.approx([0.5, 0.25, 0.5, 0.0, 1.0, 0.9])


def test_a_setting_with_a_condition_that_does_not_hold_is_nan():
    place = UnitCube(DOMAINS).point(
        trial(learning_rate=1e-2, dropout=0.4, batch_size=16, optimizer="adam")
    )
    assert place[:5] == pytest.approx([1.0, 1.0, 0.0, 1.0, 0.0])
    assert math.isnan(place[5])


def test_presets_lie_by_the_fields_in_which_they_differ():
    presets = [
        simulated(name, settings={"lr": lr, "model": model, "epochs": 5, "width": width})
        for name, lr, model, width in (
            ("a", 1e-4, "small", 10),
            ("b", 1e-3, "large", 15),
            ("c", 1e-2, "small", 20),
        )
    ]
    cube = UnitCube({}, presets)
    assert list(cube.axes) == ["lr", "model", "width"]
    places = np.stack([cube.point(preset) for preset in presets])
    assert places == pytest.approx(np.array([[0, 1, 0, 0], [0.5, 0, 1, 0.5], [1, 1, 0, 1]]))


def test_a_preset_lies_on_the_axes_of_a_search_beside_it():
    preset = simulated("preset", settings={"learning_rate": 1e-3, "optimizer": "sgd"})
    other = simulated("other", settings={"learning_rate": 1e-5, "optimizer": "sgd"})
    cube = UnitCube(DOMAINS, [preset, other])
    assert cube.point(preset)[0] == pytest.approx(2 / 3)  # the axis reaches down to the other one
    assert cube.point(other)[0] == 0.0


def test_trials_without_a_difference_share_one_point():
    cube = UnitCube({}, [simulated("a", settings={"lr": 1}), simulated("b", settings={"lr": 1})])
    assert cube.point(simulated("a", settings={"lr": 1})).tolist() == [0.5]
