import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.space.experiment_parser import read_experiment


def problems_of(content):
    with pytest.raises(ConfigurationError) as caught:
        read_experiment("found", content, "space.yaml: experiments.found")
    return str(caught.value)


def domains_of(content):
    return list(read_experiment("found", content, "space.yaml: experiments.found").domains)


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ({"scheduler.type": "plateau"}, "can never hold, scheduler_type is choice"),
        ({"model.name": "large"}, "can never hold, model_name is 'medium'"),
        ({"model.nam": "small"}, "unknown setting 'model.nam'"),
        ({"scheduler.type": "linear"}, "must be one of steplr"),
        ({"optimizer.weight_decay": 1}, "cannot depend on itself"),
        ("adam", "must be a mapping such as"),
    ],
)
def test_a_condition_that_cannot_work_is_reported(when, problem):
    content = {
        "scheduler": {"type": {"choice": ["cosine", "steplr"]}},
        "optimizer": {"weight_decay": {"uniform": [0, 1], "when": when}},
    }
    assert problem in problems_of(content)


def test_conditions_that_form_a_cycle_are_reported():
    content = {
        "optimizer": {
            "type": {"choice": ["adam", "sgd"], "when": {"scheduler.type": "cosine"}},
        },
        "scheduler": {"type": {"choice": ["cosine", "none"], "when": {"optimizer.type": "adam"}}},
    }
    assert "form a cycle" in problems_of(content)


def test_a_domain_comes_after_those_that_its_condition_names():
    schedule = {"type": {"choice": ["cosine", "none"], "when": {"optimizer.type": "adam"}}}
    optimizer = {"type": {"choice": ["adam", "sgd"]}}
    assert domains_of({"scheduler": schedule, "optimizer": optimizer}) == [
        "optimizer_type",
        "scheduler_type",
    ]
