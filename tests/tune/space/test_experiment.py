from collections import Counter

import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.space.experiment_parser import read_experiment

SEARCH = {
    "num_samples": 6,
    "model": {"name": {"choice": ["small", "ctc_small"]}},
    "training": {
        "learning_rate": {"loguniform": [1e-4, 1e-2]},
        "label_smoothing": {"uniform": [0, 0.1], "when": {"model.name": "small"}},
    },
    "optimizer": {"betas": [{"uniform": [0.8, 0.95]}, 0.999]},
}


def experiment(content, **options):
    return read_experiment("found", content, "space.yaml: experiments.found", **options)


def points(content, seed=0, **options):
    return list(experiment(content, **options).points(seed))


def problems_of(content, **options):
    with pytest.raises(ConfigurationError) as caught:
        points(content, **options)
    return str(caught.value)


def test_a_preset_is_one_trial_of_its_own_name():
    (point,) = points({"training": {"batch_size": 7}})
    assert (point.name, point.values, point.config.batch_size) == ("found", {}, 7)


def test_the_same_seed_gives_the_same_trials_however_many_are_asked_for():
    few, many = points(SEARCH, seed=3), points({**SEARCH, "num_samples": 9}, seed=3)
    assert [p.config for p in few] == [p.config for p in many][:6]
    assert [p.name for p in few] == [f"found_{n:04d}" for n in range(1, 7)]
    assert [p.values for p in points(SEARCH, seed=4)] != [p.values for p in few]


def test_a_condition_decides_whether_a_leaf_is_there():
    drawn = points({**SEARCH, "num_samples": 12})
    assert {p.config.model_name for p in drawn} == {"small", "ctc_small"}
    for point in drawn:
        assert ("label_smoothing" in point.values) == (point.config.model_name == "small")
        if point.config.model_name == "ctc_small":
            assert (point.config.label_smoothing, point.config.loss_type) == (0, "ctc")


def test_drawn_values_reach_the_config_under_their_own_names():
    point = points(SEARCH)[0]
    assert point.config.learning_rate == point.values["learning_rate"]
    assert point.config.optimizer_betas == [point.values["optimizer_betas.0"], 0.999]


def test_options_of_a_model_can_be_searched():
    content = {"model": {"options": {"temporal_width": {"grid": [8, 16]}}}}
    assert [p.config.model_options for p in points(content)] == [
        {"temporal_width": 8},
        {"temporal_width": 16},
    ]


def test_grids_are_crossed_and_multiplied_by_the_samples():
    grid = {"batch_size": {"grid": [8, 16, 32]}, "num_epochs": {"grid": [1, 2]}}
    assert len(points({"training": grid})) == 6
    drawn = points({"num_samples": 2, "training": {**grid, "seed": {"randint": [0, 999]}}})
    assert len(drawn) == 12
    assert len({(p.config.batch_size, p.config.num_epochs) for p in drawn}) == 6


FOCAL = {
    "loss_type": {"grid": ["crossentropy", "focal"]},
    "focal_gamma": {"grid": [1, 2, 3], "when": {"training.loss_type": "focal"}},
}


def test_a_grid_multiplies_only_what_its_conditions_hold_for():
    rate = {"learning_rate": {"loguniform": [1e-4, 1e-2]}}
    found = experiment({"num_samples": 5, "training": {**FOCAL, **rate}})
    counted = Counter((p.values["loss_type"], p.values.get("focal_gamma")) for p in found.points(0))
    assert counted == {("crossentropy", None): 5, **{("focal", gamma): 5 for gamma in (1, 2, 3)}}
    assert (len(found.cells), found.size) == (4, 20)
    assert [p.values for p in points({"training": FOCAL})] == found.cells


def test_a_grid_under_a_grid_that_is_not_there_is_not_there_either():
    content = {
        "training": {**FOCAL, "batch_size": {"grid": [8, 16], "when": {"focal_gamma": [3]}}},
    }
    assert len(points(content)) == experiment(content).size == 1 + 2 + 2


def test_a_grid_whose_condition_hangs_on_what_is_drawn_is_in_every_combination():
    drawn = {**FOCAL, "loss_type": {"choice": ["crossentropy", "focal"]}}
    loss = {"focal_gamma": {"grid": [1, 2], "when": {"loss_type": "crossentropy"}}}
    assert [cell["focal_gamma"] for cell in experiment({"training": drawn}).cells] == [1, 2, 3]
    model = {"name": {"choice": ["small", "ctc_small"]}}
    assert len(experiment({"model": model, "training": loss}).cells) == 2
    model = {"name": {"grid": ["small", "ctc_small"]}}  # a CTC model's loss is no cross entropy
    assert len(experiment({"model": model, "training": loss}).cells) == 3


def test_no_point_is_drawn_twice():
    content = {"num_samples": 50, "training": {"batch_size": {"choice": [8, 16, 32]}}}
    assert sorted(p.config.batch_size for p in points(content)) == [8, 16, 32]


def test_what_is_known_is_not_drawn():
    content = {"num_samples": 50, "training": {"batch_size": {"choice": [8, 16, 32]}}}
    left = experiment(content).points(0, skip=lambda config: config.batch_size == 8)
    assert [p.name for p in left] == ["found_0001", "found_0002"]


def test_an_override_takes_the_place_of_a_domain():
    found = experiment(SEARCH, overrides={"learning_rate": 0.005})
    assert "learning_rate" not in found.domains
    assert {p.config.learning_rate for p in found.points(0)} == {0.005}
    fixed = {"model_name": "small", "learning_rate": 1e-3, "label_smoothing": 0.0}
    (only,) = points(SEARCH, overrides={**fixed, "optimizer_betas": [0.9, 0.99]})
    assert only.name == "found"


def test_points_that_break_a_rule_between_fields_are_drawn_again():
    content = {
        "num_samples": 20,
        "training": {"learning_rate": {"loguniform": [1e-5, 1e-2]}},
        "scheduler": {"min_lr": 1e-3},
    }
    drawn = points(content)
    assert len(drawn) == 20 and min(p.config.learning_rate for p in drawn) >= 1e-3


def test_domains_without_any_valid_point_are_reported():
    content = {
        "training": {"learning_rate": {"uniform": [1e-5, 1e-4]}},
        "scheduler": {"min_lr": 1e-3},
    }
    output = problems_of(content)
    assert (
        "could not sample a valid config" in output
        and "scheduler.min_lr: must not exceed learning_rate" in output
    )
