import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.space.experiment_parser import read_experiment


def experiment(content, **options):
    return read_experiment("found", content, "space.yaml: experiments.found", **options)


def problems_of(content):
    with pytest.raises(ConfigurationError) as caught:
        experiment(content)
    return str(caught.value)


def test_all_problems_are_reported_at_once_with_place_rule_and_value():
    output = problems_of(
        {
            "num_samples": 0,
            "resources": {"cpu": 1, "memory": "lots"},
            "training": {
                "batch_size": {"uniform": [16, 64]},
                "label_smoothing": {"uniform": [0, 1.5]},
                "loss_type": {"choice": ["ctc", "hinge"]},
                "weight_decay": {"uniform": [0, 1]},
            },
            "optimizer": {"weight_decay": 3, "tpye": {"choice": ["adam"]}},
            "scheduler": {"warmup_epochs": {"randint": [-1, 3]}},
            "early_stopping": {"patience": 1.5},
        }
    )
    place = "space.yaml: experiments.found"
    for line in (
        f"{place}.num_samples: must be an integer >= 1, got 0",
        f"{place}.resources.cpu: unknown resource 'cpu'",
        f"{place}.resources.memory: must be bytes, or text such as 3GiB or 500MB, got 'lots'",
        f"{place}.training.batch_size.uniform: draws fractions, but batch_size is an integer",
        f"{place}.training.label_smoothing.uniform: must be a number >= 0 and < 1, got 1.5",
        f"{place}.training.loss_type.choice: must be one of crossentropy, ctc, focal, got 'hinge'",
        f"{place}.training.weight_decay: has no effect, optimizer.weight_decay sets the same",
        f"{place}.optimizer.tpye: unknown key 'tpye'",
        f"{place}.scheduler.warmup_epochs.randint: must be an integer >= 0, got -1",
        f"{place}.early_stopping.patience: must be an integer >= 0, got 1.5",
    ):
        assert line in output


def test_whole_numbers_stay_whole_in_a_field_that_takes_fractions():
    found = experiment({"training": {"gradient_clip_norm": {"randint": [1, 5]}}})
    domain = found.domains["gradient_clip_norm"]
    near = domain.around(2.0)  # as a config has it
    assert domain.values == (1, 5) and near.values == (1, 3)
    assert all(type(bound) is int for bound in (*domain.values, *near.values))
    assert domain.scaled(2.0, 1.2) == 3
    assert {point.config.gradient_clip_norm for point in found.points(0)} <= {1, 2, 3, 4, 5}


def test_too_many_trials_are_reported():
    grid = {
        "batch_size": {"grid": list(range(1, 101))},
        "num_epochs": {"grid": list(range(1, 101))},
    }
    assert "at most 9999 trials, got 10000 combinations" in problems_of({"training": grid})


def test_samples_of_what_is_never_drawn_are_reported():
    assert "equal trials have equal results" in problems_of({"num_samples": 3})


@pytest.mark.parametrize(
    "name", ["results.json", "Run.lock", "run_state.jsonl", "trials.csv", "epochs.csv", "ray.log"]
)
def test_an_experiment_with_the_name_of_a_file_of_the_run_is_refused(name):
    with pytest.raises(ConfigurationError, match=f"a file of the run .*, got '{name}'"):
        read_experiment(name, {}, f"space.yaml: experiments.{name}")


def test_a_product_of_grids_that_no_memory_holds_is_refused():
    names = ("batch_size", "num_epochs", "log_every_n_steps", "seed")
    grids = {name: {"grid": list(range(1, 1001))} for name in names}
    assert "got 1000000000000 combinations" in problems_of({"training": grids})


def test_the_value_of_an_error_is_cut():
    found = problems_of({"training": {"batch_size": ["x" * 1000] * 1000}, "resources": "y" * 9000})
    assert len(found) < 3000


def test_an_experiment_is_parsed_into_checked_fields():
    found = experiment(
        {
            "model": {"name": "ctc_small"},
            "optimizer": {"betas": [{"uniform": [0.8, 0.9]}, 0.99]},
            "training": {"learning_rate": 1},
        }
    )
    assert found.fields == {
        "model_name": "ctc_small",
        "optimizer_betas": [0.8, 0.99],
        "learning_rate": 1.0,
    }
    assert found.fields_with({"optimizer_betas.0": 0.85})["optimizer_betas"] == [0.85, 0.99]
    assert found.fields["optimizer_betas"] == [0.8, 0.99]


def test_a_misspelt_domain_of_a_parameter_is_no_value():
    problems = problems_of({"parameters": {"lr": {"loguniforn": [0.001, 0.1]}}})
    assert "experiments.found.parameters.lr: unknown domain 'loguniforn'" in problems
    assert "did you mean 'loguniform'?" in problems
