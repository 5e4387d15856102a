import json
import math

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import DataNotFoundError
from raytune_ocr.results.document import results_document, write_json
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.results.tables import epochs_table, write_tables
from raytune_ocr.results.targets import compare_with_targets
from raytune_ocr.tune import load_results

KEYS = {
    "experiment_name",
    "status",
    "training_time",
    "best_val_char_accuracy",
    "best_val_seq_accuracy",
    "final_train_loss",
    "total_epochs",
    "hyperparameters",
}


def row(epoch, char, seq=0.1):
    return {
        "epoch": epoch,
        "train_loss": 1 / epoch,
        "val_char_accuracy": char,
        "val_seq_accuracy": seq,
        "seconds": 2.0,
    }


def record(name="one", scores=(0.2, 0.6, 0.4), status="completed"):
    made = TrialRecord(TrainingConfig(experiment_name=name), status, "max_epochs")
    for epoch, score in enumerate(scores, 1):
        made.add(row(epoch, score))
    return made


def test_the_best_epoch_is_reported_and_not_the_last():
    result = record().to_result({})
    assert (result["best_val_char_accuracy"], result["best_epoch"]) == (0.6, 2)
    assert result["total_epochs"] == 3
    assert (result["training_time"], result["train_time_per_epoch"]) == (6.0, 2.0)


def test_the_best_epoch_is_the_one_that_the_kept_weights_are_of():
    following_loss = record(scores=(0.2, 0.6, 0.7))
    following_loss.config.early_stopping_monitor = "val_loss"
    following_loss.config.early_stopping_mode = "min"
    for epoch, loss in zip(following_loss.epochs, (0.5, 0.3, 0.4), strict=True):
        epoch["val_loss"] = loss
    assert following_loss.to_result({})["best_epoch"] == 2


def test_an_epoch_done_again_stands_once():
    again = record()
    again.add(row(2, 0.9))
    again.add(row(3, 0.8))
    assert [r["epoch"] for r in again.epochs] == [1, 2, 3]
    assert again.best["val_char_accuracy"] == 0.9


def test_the_document_has_every_key_of_the_schema_and_rebuilds_its_trials():
    failed = record("two", (0.1,), "failed")
    failed.error_message = "ValueError: no"
    document = results_document([record(), failed, record("three", (), "running")], {}, "now")
    assert {"timestamp", "experiments_completed", "best_result", "all_results"} <= set(document)
    assert document["experiments_completed"] == 1
    assert [r["experiment_name"] for r in document["all_results"]] == ["one", "two"]
    assert all(set(result) >= KEYS for result in document["all_results"])
    assert document["all_results"][1]["error_message"] == "ValueError: no"
    assert TrainingConfig.from_dict(document["best_result"]["config"]) == record().config


def test_the_winner_has_the_best_epoch_of_all():
    document = results_document([record("a", (0.5, 0.1)), record("b", (0.3, 0.4))], {}, "now")
    assert document["best_result"]["experiment_name"] == "a"


def test_without_a_completed_trial_there_is_no_best():
    assert results_document([record(status="failed")], {}, "now")["best_result"] is None


def test_the_json_never_holds_nan(tmp_path):
    spoiled = record(scores=(math.nan, 0.3))
    spoiled.epochs[-1]["train_loss"] = math.inf
    path = tmp_path / "results.json"
    write_json(path, results_document([spoiled], {}, "now"))

    def refuse(constant):
        raise AssertionError(constant)

    document = json.loads(path.read_text(), parse_constant=refuse)
    assert document["best_result"]["best_val_char_accuracy"] == 0.3
    assert document["best_result"]["final_train_loss"] is None


def test_targets_are_met_from_above_and_times_from_below():
    result = {"best_val_char_accuracy": 0.9, "train_time_per_epoch": 30.0}
    compared = compare_with_targets(
        result, {"character_accuracy": 0.85, "training_time_per_epoch": 20, "convergence_epochs": 5}
    )
    met = {name: row["met"] for name, row in compared.items()}
    assert met == {
        "character_accuracy": True,
        "training_time_per_epoch": False,
        "convergence_epochs": False,
    }


def test_tables_are_written_for_pandas(tmp_path):
    import pandas as pd

    write_tables(tmp_path, [record(), record("two")], {})
    epochs = pd.read_csv(tmp_path / "epochs.csv")
    assert list(epochs["epoch"]) == [1, 2, 3, 1, 2, 3] or len(epochs) == 6
    assert list(pd.read_csv(tmp_path / "trials.csv")["experiment_name"]) == ["one", "two"]


def test_the_gpu_column_is_there_only_with_a_gpu():
    assert "gpu_memory_mb" not in epochs_table([record()])
    with_gpu = record()
    with_gpu.add({**row(4, 0.5), "gpu_memory_mb": 100.0})
    assert "gpu_memory_mb" in epochs_table([with_gpu])


def test_results_load_from_a_file_a_folder_and_several(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, results_document([record("a", (0.1,)), record("b", (0.7,))], {}, "now"))
    table = load_results(path)
    assert list(table["experiment_name"]) == ["b", "a"]
    assert table.loc[0, "learning_rate"] == 1e-3
    assert load_results(tmp_path).equals(table)
    assert len(load_results([path, tmp_path])) == 4


def test_results_of_several_runs_are_the_best_first(tmp_path):
    runs = {"a": {"a1": 0.9, "a2": 0.2, "a3": 0.5}, "b": {"b1": 0.99, "b2": 0.5, "b3": 0.95}}
    for name, scores in runs.items():
        records = [record(trial, (score,)) for trial, score in scores.items()]
        write_json(tmp_path / name, results_document(records, {}, "now"))
    (tmp_path / "none").write_text('{"all_results": []}')
    table = load_results([tmp_path / "a", tmp_path / "none", tmp_path / "b"])
    assert list(table["experiment_name"]) == ["b1", "b3", "a1", "a3", "b2", "a2"]
    assert list(table.index) == list(range(6))
    assert table["source"][0] == str(tmp_path / "b")


def test_results_of_the_original_system_load(tmp_path):
    path = tmp_path / "hyperparameter_tuning_results_1.json"
    path.write_text(
        '{"experiments_completed": 1, "best_result": null, "all_results": ['
        '{"experiment_name": "a", "status": "completed", "best_val_char_accuracy": 0.0,'
        ' "best_val_loss": Infinity, "hyperparameters": {"model_name": "small"}},'
        '{"experiment_name": "b", "status": "failed", "error": "Unknown model: ctc"}]}'
    )
    table = load_results(path).set_index("experiment_name")
    assert table.loc["b", "error_message"] == "Unknown model: ctc"
    assert table.loc["a", "model_name"] == "small"
    assert math.isnan(table.loc["a", "best_val_loss"])


def test_missing_results_are_told(tmp_path):
    with pytest.raises(DataNotFoundError, match="holds neither"):
        load_results(tmp_path)
