import json
import math

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.results.aggregate import trials_table
from raytune_ocr.results.document import result_of, results_document, write_json
from tests.fixtures.records import record_of, row

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


def test_the_best_epoch_is_reported_and_not_the_last():
    result = result_of(record_of())
    assert (result["best_val_char_accuracy"], result["best_epoch"]) == (0.6, 2)
    assert result["total_epochs"] == 3
    assert (result["training_time"], result["train_time_per_epoch"]) == (6.0, 2.0)


def test_the_best_epoch_is_the_one_that_the_kept_weights_are_of():
    following_loss = record_of(scores=(0.2, 0.6, 0.7))
    following_loss.config.early_stopping_monitor = "val_loss"
    following_loss.config.early_stopping_mode = "min"
    for epoch, loss in zip(following_loss.epochs, (0.5, 0.3, 0.4), strict=True):
        epoch["val_loss"] = loss
    assert result_of(following_loss)["best_epoch"] == 2


def test_an_epoch_done_again_stands_once():
    again = record_of()
    again.add(row(2, 0.9))
    again.add(row(3, 0.8))
    assert [r["epoch"] for r in again.epochs] == [1, 2, 3]
    assert again.best["val_char_accuracy"] == 0.9


def test_the_document_has_every_key_of_the_schema_and_rebuilds_its_trials():
    failed = record_of("two", (0.1,), "failed")
    failed.error_message = "ValueError: no"
    document = results_document([record_of(), failed, record_of("three", (), "running")], {}, "now")
    assert {"timestamp", "experiments_completed", "best_result", "all_results"} <= set(document)
    assert document["experiments_completed"] == 1
    assert [r["experiment_name"] for r in document["all_results"]] == ["one", "two"]
    assert all(set(result) >= KEYS for result in document["all_results"])
    assert document["all_results"][1]["error_message"] == "ValueError: no"
    assert TrainingConfig.from_dict(document["best_result"]["config"]) == record_of().config


def test_the_winner_has_the_best_epoch_of_all():
    document = results_document([record_of("a", (0.5, 0.1)), record_of("b", (0.3, 0.4))], {}, "now")
    assert document["best_result"]["experiment_name"] == "a"


def test_without_a_completed_trial_there_is_no_best():
    assert results_document([record_of(status="failed")], {}, "now")["best_result"] is None


def test_the_json_never_holds_nan(tmp_path):
    spoiled = record_of(scores=(math.nan, 0.3))
    spoiled.epochs[-1]["train_loss"] = math.inf
    path = tmp_path / "results.json"
    write_json(path, results_document([spoiled], {}, "now"))

    def refuse(constant):
        raise AssertionError(constant)

    document = json.loads(path.read_text(), parse_constant=refuse)
    assert document["best_result"]["best_val_char_accuracy"] == 0.3
    assert document["best_result"]["final_train_loss"] is None


def test_every_result_has_an_error_message_that_is_empty_where_it_completed():
    failed = record_of("two", (0.1,))
    failed.fail("ValueError: no")
    document = results_document([record_of(), failed], {}, "now")
    found = [result["error_message"] for result in document["all_results"]]
    assert found == ["", "ValueError: no"]
    assert document["best_result"]["error_message"] == ""


def test_the_table_and_the_json_have_the_parameters_of_the_model():
    record = record_of()
    for epoch in record.epochs:
        epoch |= {"model_parameters": 117}
    assert trials_table([record]).iloc[0]["model_parameters"] == 117
    assert result_of(record)["model_parameters"] == 117
