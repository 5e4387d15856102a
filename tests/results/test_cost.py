import pytest

from raytune_ocr.config.prices import Prices
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.results.aggregate import trials_table
from raytune_ocr.results.cost import costs_in_words, money_of, run_costs
from raytune_ocr.results.document import results_document
from raytune_ocr.results.record import TrialRecord

PRICES = Prices(gpu_hour=2.0, cpu_hour=0.5, currency="EUR")


def trial(name, epochs=2, reason="max_epochs", known=True, **fields):
    """Epochs of half an hour on two CPUs and half a GPU."""
    config = TrainingConfig(experiment_name=name, num_epochs=4, output_dir="nowhere")
    made = TrialRecord(config, status="completed", stop_reason=reason, **fields)
    for epoch in range(1, epochs + 1):
        row = {"epoch": epoch, "val_char_accuracy": 0.5, "seconds": 1800.0}
        made.add({**row, **({"cpus": 2.0, "gpus": 0.5, "gpu_kwh": 0.1} if known else {})})
    return made


def test_hours_are_the_time_of_epochs_by_what_was_reserved():
    table = trials_table([trial("one", epochs=4)], prices=PRICES)
    assert table.loc[0, ["cpu_hours", "gpu_hours", "gpu_kwh", "money"]].tolist() == pytest.approx(
        [4.0, 1.0, 0.4, 4.0]
    )
    assert table["cpu_kwh"].isna().all() and table["saved_cpu_hours"].isna().all()


def test_without_prices_there_is_no_money_and_without_resources_no_hours():
    table = trials_table([trial("one"), trial("old", known=False)])
    assert table["money"].isna().all()
    assert table["cpu_hours"].notna().tolist() == [True, False]


def test_a_trial_that_was_stopped_saved_the_epochs_that_it_did_not_train():
    table = trials_table([trial("one", 1, "scheduler"), trial("two", 1, "nan")], prices=PRICES)
    assert table.loc[0, ["saved_cpu_hours", "saved_gpu_hours", "saved_money"]].tolist() == [
        *(3.0, 0.75, 3.0)
    ]
    assert table.loc[1, "saved_money"] != table.loc[1, "saved_money"]  # NaN


def test_a_clone_does_not_pay_for_the_epochs_of_its_parent():
    clone = trial("one_g1", epochs=3, parent="one", parent_epoch=2)
    table = trials_table([clone], prices=PRICES)
    assert table.loc[0, "money"] == pytest.approx(1.0) == money_of(clone, PRICES)


def test_costs_of_a_run_add_up_by_preset_and_stand_in_the_json():
    records = [
        trial("wide_0001", 1, "scheduler", search="wide"),
        trial("wide_0002", 4, search="wide"),
        trial("wide_0002-seed1", 2, confirms="wide_0002"),
        trial("plain", 2),
    ]
    costs = results_document(records, {}, "20260101_000000", prices=PRICES)["costs"]
    assert (costs["cpu_hours"], costs["money"], costs["currency"]) == (9.0, 9.0, "EUR")
    assert {row["experiment_name"]: (row["trials"], row["money"]) for row in costs["presets"]} == {
        "wide": (3, 7.0),
        "plain": (1, 2.0),
    }
    assert costs_in_words(costs) == (
        "9 CPU-hours, 2.25 GPU-hours, 0.9 kWh, 9 EUR; "
        "early stopping saved 3 CPU-hours, 0.75 GPU-hours, 3 EUR"
    )


def test_a_run_of_unknown_resources_has_no_costs():
    records = [trial("old", known=False)]
    assert run_costs(trials_table(records), records, None) is None
    assert "costs" not in results_document(records, {}, "20260101_000000")
    assert money_of(records[0], PRICES) == 0.0
