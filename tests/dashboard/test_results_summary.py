from raytune_ocr.dashboard.results_summary import config_of, outcome_of, results_summary
from raytune_ocr.results.document import RESULTS_COPY, read_document, results_document, write_json
from raytune_ocr.tune.selection.confirmation import confirmation
from tests.fixtures.records import record_of, searched_run


def test_targets_have_the_winners_value_and_how_many_trials_met_them(tmp_path):
    summary = results_summary(*read_document(searched_run(tmp_path / "run")))
    (target,) = summary["targets"]
    assert (target["target"], target["goal"], target["value"]) == ("character_accuracy", 0.8, 0.85)
    assert (target["met"], target["trials"]) == (2, 9)
    assert summary["confirmation"] == {} and summary["held_out"] == [] and summary["gone"] == ""
    assert "costs" not in summary and summary["timestamp"] == "20260101_000000"


def test_a_confirmation_has_its_candidates_without_the_results_of_their_trials(tmp_path):
    again = [record_of(f"one-seed{seed}", scores=(0.5, 0.7)) for seed in (101, 102)]
    for record, seed in zip(again, (101, 102), strict=True):
        record.confirms, record.config.seed = "one", seed
    records = [record_of("one"), *again]
    document = results_document(records, {}, "now", confirmation=confirmation(records, {}))
    write_json(tmp_path / RESULTS_COPY, document)
    found = results_summary(*read_document(tmp_path))["confirmation"]
    assert set(found) == {"metric", "verdict", "candidates"}
    (candidate,) = found["candidates"]
    assert candidate["scores"] == {"101": 0.7, "102": 0.7} and candidate["mean"] == 0.7


def test_a_result_of_the_original_system_is_judged_by_its_character_accuracy():
    result = {"status": "completed", "best_val_char_accuracy": 0.3, "training_time": 9.0}
    assert config_of(result)["early_stopping_monitor"] == "val_char_accuracy"
    assert outcome_of(result) == {"score": 0.3, "best_epoch": None, "epochs": 0, "seconds": 9.0}
    own = {"best_metric": "val_mae", "best_mode": "min", "best_value": 0.2, "total_epochs": 4}
    assert config_of(own) == {"early_stopping_monitor": "val_mae", "early_stopping_mode": "min"}
    assert (outcome_of(own)["score"], outcome_of(own)["epochs"]) == (0.2, 4)
    other = {**result, "config": {"early_stopping_monitor": "val_loss"}}
    assert outcome_of(other)["score"] is None  # its best loss is not recorded
