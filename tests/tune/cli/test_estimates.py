import pytest

from raytune_ocr.config.prices import Prices
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.models.registry import create_model, parameter_count
from raytune_ocr.tune.cli.estimates import estimates
from raytune_ocr.tune.options import TuneOptions
from raytune_ocr.tune.search.warm_start import Known

PLANNED = [TrainingConfig(experiment_name=f"r_{n}", num_epochs=10) for n in range(4)]
PRICES = Prices(cpu_hour=0.5, gpu_hour=2.0, currency="EUR")


def known(config, seconds, **more):
    """An earlier trial of ten epochs on two CPUs and half a GPU."""
    hours = 10 * seconds / 3600
    result = {
        "config": vars(config),
        "train_time_per_epoch": seconds,
        "total_epochs": 10,
        "cpu_hours": 2 * hours,
        "gpu_hours": hours / 2,
        **more,
    }
    return Known("earlier.json", {}, 0.9, result)


def lines(planned=PLANNED, earlier=(), prices=PRICES, **options):
    """The lines by what they are about."""
    found = estimates(planned, TuneOptions(**options), prices, earlier)
    return dict(line.split(": ", 1) for line in found)


def test_what_nothing_measured_is_unknown_and_says_why():
    found = lines(prices=None)
    assert found["hours"].startswith("unknown, no earlier trial of these models and data")
    assert found["cost"] == "unknown, the file has no prices"
    assert lines()["cost"] == "unknown, as the hours are"
    own = [TrainingConfig(experiment_name="own", trainable="my:train", num_epochs=3)]
    assert lines(own)["disk"] == "unknown, these models are only built in training"


def test_hours_and_cost_are_epochs_by_those_of_earlier_trials():
    found = lines(earlier=[known(PLANNED[0], 80.0), known(PLANNED[1], 100.0)])
    assert found["hours"].startswith("about 1 of training if no trial stops early")
    assert "(40 epochs of 90 s, as in 2 earlier trials)" in found["hours"]
    assert found["cost"] == "about 2 EUR if no trial stops early"  # 2 x 0.5 + 0.5 x 2 an hour


def test_a_confirmation_trains_its_trials_again():
    found = lines(earlier=[known(PLANNED[0], 90.0)], confirm=2, confirm_seeds=5)
    assert found["hours"].startswith("about 3.5 ") and "140 epochs" in found["hours"]


def test_trials_of_other_models_data_or_code_are_left_out():
    other = TrainingConfig(experiment_name="m", model_name="large", num_epochs=10)
    elsewhere = TrainingConfig(experiment_name="e", metadata_path="elsewhere", num_epochs=10)
    own = TrainingConfig(experiment_name="o", trainable="my:train", num_epochs=10)
    found = lines([*PLANNED, other, elsewhere, own], [known(PLANNED[0], 90.0)])
    for name in ("hours", "cost"):
        assert "without 3 of 7 trials, of which nothing is known" in found[name]
    assert "40 epochs of 90 s" in found["hours"]


def test_without_a_record_of_cpus_there_are_hours_but_no_cost():
    found = lines(earlier=[known(PLANNED[0], 90.0, cpu_hours=None)])
    assert found["cost"] == "unknown, the earlier trials did not record their CPUs"
    assert found["hours"].startswith("about 1 ")


def test_a_clone_whose_parent_trained_its_first_epochs_measures_nothing():
    assert lines(earlier=[known(PLANNED[0], 90.0, parent="p")])["hours"].startswith("unknown")


def test_limits_of_time_and_cost_are_named():
    found = lines(time_budget=1800.0, max_cost=3.0)
    assert "--time-budget ends the run after 0.5;" in found["hours"]
    assert found["cost"] == "unknown, as the hours are; --max-cost ends the run at 3 EUR"


@pytest.mark.parametrize(("optimizer", "moments"), [("adam", 2), ("sgd", 1)])
def test_disk_space_is_that_of_the_states_and_models_that_are_kept(optimizer, moments):
    weights = 4 * parameter_count(create_model("medium"))
    config = TrainingConfig(
        experiment_name="m", model_name="medium", num_epochs=12, optimizer_type=optimizer
    )
    state = (2 + moments) * weights
    model = weights + 3 * state  # numbered ones after the epochs 5, 10 and 12
    during, after = 50 * (model + 2 * state), 10 * model + state
    found = lines([config] * 50)["disk"]
    assert found.startswith(
        f"about {during / 1e9:.2g} GB during the run, {after / 1e9:.2g} GB after it"
    )
    kept = 50 * model + state
    assert (
        f"{kept / 1e9:.2g} GB after it (--keep-models all)"
        in (lines([config] * 50, keep_models="all")["disk"])
    )


def test_the_size_of_an_own_model_is_that_of_earlier_trials():
    own = TrainingConfig(experiment_name="own", trainable="my:Task", num_epochs=3)
    earlier = [known(own, 1.0, model_parameters=1_500_000)]
    assert "states and models of 1.5 M parameters" in lines([own], earlier)["disk"]
