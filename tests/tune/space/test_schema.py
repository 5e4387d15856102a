import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from raytune_ocr.config.settings import ABOUT, SECTIONS
from raytune_ocr.config.yaml_files import load_yaml
from raytune_ocr.tune.__main__ import main
from raytune_ocr.tune.options import TUNING
from raytune_ocr.tune.space.schema import yaml_schema

SHIPPED = sorted((Path(__file__).parents[3] / "search_spaces").rglob("*.yaml"))
VALIDATOR = Draft202012Validator(yaml_schema())


def problems_of(experiment=None, **top):
    return list(VALIDATOR.iter_errors({"experiments": {"fast": experiment or {}}, **top}))


def test_there_are_shipped_spaces():
    assert len(SHIPPED) >= 6


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_space_is_valid(path):
    assert list(VALIDATOR.iter_errors(load_yaml(path))) == []


def test_the_command_line_prints_a_schema_that_is_one(capsys):
    assert main(["--print-schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == yaml_schema()
    Draft202012Validator.check_schema(schema)


def test_every_setting_and_option_is_in_the_schema_with_its_documentation():
    schema = yaml_schema()
    experiment = schema["$defs"]["experiment"]["properties"]
    for section, keys in SECTIONS.items():
        leaves = experiment[section]["properties"] if section else experiment
        assert leaves.keys() >= keys.keys()
        for key, name in keys.items():
            assert leaves[key]["description"].startswith(ABOUT[name].doc)
    assert schema["properties"]["tuning"]["properties"].keys() == TUNING.keys()


@pytest.mark.parametrize(
    "experiment",
    [
        {"training": {"learning_rate": {"loguniform": [1e-4, 1e-2]}}},
        {"training": {"batch_size": {"quniform": [16, 64, 16]}, "seed": {"randint": [0, 9]}}},
        {"optimizer": {"betas": [{"uniform": [0.8, 0.9]}, 0.99]}},
        {"training": {"focal_gamma": {"choice": [1], "when": {"training.loss_type": "focal"}}}},
        {"training": {"changes": [{"after_epoch": 2, "learning_rate": 1e-4}]}},
        {"resources": {"cpus": 2, "memory": "3GiB"}, "num_samples": 3},
        {"model": None},
    ],
    ids=str,
)
def test_what_the_parser_takes_is_valid(experiment):
    assert problems_of(experiment, targets={"accuracy": 0.9}, tuning={"time_budget": "2h"}) == []


@pytest.mark.parametrize(
    "experiment",
    [
        {"trainin": {}},
        {"training": {"batch_sise": 3}},
        {"training": {"batch_size": 0}},
        {"training": {"batch_size": {"uniform": [1, 2]}}},
        {"training": {"label_smoothing": 1}},
        {"training": {"loss_type": {"choice": ["hinge"]}}},
        {"training": {"learning_rate": {"loguniform": [1e-4]}}},
        {"training": {"changes": [{"after_epoch": 2, "batch_size": 4}]}},
        {"optimizer": {"betas": [0.9]}},
        {"training": {"seed": {"choice": [1], "when": {"training.los": 1}}}},
        {"resources": {"cpu": 2}},
    ],
    ids=str,
)
def test_what_the_parser_refuses_is_invalid(experiment):
    assert problems_of(experiment)


@pytest.mark.parametrize(
    "top",
    [
        {"targets": {"accuracy": 99}},
        {"tuning": {"time_budget": "1:30"}},
        {"tuning": {"scheduler": "ahsa"}},
        {"target": 3},
        {"experiments": {"../up": {}}},
        {"experiments": {}},
    ],
    ids=str,
)
def test_a_file_with_a_wrong_top_level_is_invalid(top):
    assert problems_of(**top)
