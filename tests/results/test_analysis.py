"""Tables about runs."""

import json
import math
from dataclasses import replace

import pandas as pd
import pytest

from raytune_ocr.analyze import main
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import DataLoaderError, DataNotFoundError
from raytune_ocr.results.analysis import pareto, unfinished
from raytune_ocr.results.document import RESULTS_COPY, results_document, write_json
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.results.tables import write_tables
from raytune_ocr.tune import best, compare, learning_curves, load_results
from raytune_ocr.tune.selection.confirmation import winner
from raytune_ocr.tune.selection.reproduce import recorded_epochs
from tests.fixtures.records import searched_run, trial


@pytest.fixture
def run(tmp_path):
    return searched_run(tmp_path / "run")


def test_learning_curves_have_a_row_a_trial_and_epoch(run):
    curves = learning_curves(run)
    assert len(curves) == 27
    assert {"experiment_name", "epoch", "val_char_accuracy", "seconds"} <= set(curves)
    pd.testing.assert_frame_equal(learning_curves(run / RESULTS_COPY), curves)


@pytest.mark.parametrize("name", ["001", "2024", "1e3", "null", "None", "NA", "true"])
def test_a_name_that_looks_like_something_else_stays_a_name(name, tmp_path):
    record = trial(tmp_path, 0, 0.5)
    record.epochs[1]["val_loss"] = math.nan
    config = replace(record.config, experiment_name=name)
    named = TrialRecord(config, status="running")
    for row in record.epochs:
        named.add(row)
    write_json(tmp_path / RESULTS_COPY, results_document([named], {}, "20260101_000000"))
    write_tables(tmp_path, [named], {})
    curves = learning_curves(tmp_path)
    assert curves["experiment_name"].tolist() == [name] * 3
    assert curves["val_loss"].isna().tolist() == [False, True, False]
    assert unfinished(tmp_path) == [(name, 3)]
    assert list(recorded_epochs(tmp_path / RESULTS_COPY, name)) == [1, 2, 3]


def test_the_best_is_the_best_completed_trial(run):
    assert best(run)["experiment_name"] == "trial_7"
    assert best(run)["best_val_char_accuracy"] == pytest.approx(0.85)


def confirming(record, seed, score):
    made = trial(record.config.output_dir, f"{record.name}-seed{seed}", score)
    made.config.seed, made.confirms = seed, record.name
    return made


def test_the_best_is_the_one_that_was_confirmed_and_not_the_luckiest(run, tmp_path):
    lucky, good = trial(tmp_path, 1, 0.9), trial(tmp_path, 2, 0.8)
    again = [confirming(lucky, 101, 0.6), confirming(good, 101, 0.7)]
    records = [lucky, good, *again]
    document = results_document(records, {}, "20260101_000000", best=winner(records))
    write_json(tmp_path / "r.json", document)
    assert best(tmp_path / "r.json")["experiment_name"] == "trial_2"
    found = compare([tmp_path / "r.json", run])
    assert found["best_trial"].tolist() == ["trial_2", "trial_7"]
    assert found["best_score"].tolist() == pytest.approx([0.8, 0.85])
    assert best([tmp_path / "r.json", run])["source"] == str(run)  # 0.9 won nothing


def test_the_best_of_classifiers_that_follow_the_loss_is_the_one_of_the_results(tmp_path):
    records = []
    for name, accuracy, loss in (("sure", 0.90, 0.2), ("unsure", 0.91, 0.5)):
        config = TrainingConfig(
            experiment_name=name, dataset_name="mnist", early_stopping_monitor="val_loss"
        )
        records.append(TrialRecord(config, status="completed", stop_reason="max_epochs"))
        row = {"epoch": 1, "train_loss": 1.0, "val_loss": loss, "val_accuracy": accuracy}
        records[-1].add({**row, "seconds": 1.0})
    write_json(tmp_path / "r.json", results_document(records, {}, "20260101_000000"))
    assert best(tmp_path / "r.json")["experiment_name"] == "sure"


def test_results_that_name_no_winner_have_the_one_with_the_best_score(run):
    document = json.loads((run / RESULTS_COPY).read_text())
    for unknown in (None, {"experiment_name": "lost"}, {}, "trial_1"):
        write_json(run / "r.json", {**document, "best_result": unknown})
        assert best(run / "r.json")["experiment_name"] == "trial_7"


def test_without_a_completed_trial_there_is_no_best(tmp_path):
    write_json(tmp_path / "r.json", results_document([], {}, "20260101_000000"))
    with pytest.raises(DataNotFoundError, match="no trial completed"):
        best(tmp_path / "r.json")


def test_runs_are_compared_in_the_order_given(run, tmp_path):
    empty = tmp_path / "empty.json"
    write_json(empty, results_document([], {}, "20260101_000000"))
    table = compare([run, empty])
    assert table["trials"].tolist() == [9, 0]
    assert (table["completed"][0], table["failed"][0], table["best_trial"][0]) == (8, 1, "trial_7")
    assert table["training_time"][0] == pytest.approx(load_results(run)["training_time"].sum())
    assert math.isnan(table["best_score"][1])


def test_epochs_that_a_clone_has_of_its_parent_are_counted_once(tmp_path):
    parent, clone = trial(tmp_path, 1, 0.5, seconds=9.0), trial(tmp_path, 2, 0.6, seconds=2.0)
    clone.parent, clone.parent_epoch = parent.name, 2
    for row in clone.epochs[:2]:
        row["seconds"] = 9.0
    records = [parent, clone]
    write_json(tmp_path / RESULTS_COPY, results_document(records, {}, "20260101_000000"))
    without_curves = compare([tmp_path])
    write_tables(tmp_path, records, {})
    found = compare([tmp_path])
    assert found["epochs"].tolist() == without_curves["epochs"].tolist() == [4]
    assert found["training_time"].tolist() == [3 * 9.0 + 2.0]
    assert without_curves["training_time"][0] == pytest.approx(27 + 20 / 3)


def test_a_dearer_trial_is_on_the_front_only_if_it_is_better(tmp_path):
    records = [
        trial(tmp_path, number, score, seconds)
        for number, (score, seconds) in enumerate([(0.5, 1.0), (0.9, 3.0), (0.8, 4.0), (0.5, 2.0)])
    ]
    write_json(tmp_path / "r.json", results_document(records, {}, "20260101_000000"))
    front = pareto(load_results(tmp_path / "r.json"))
    assert front[front["on_front"]]["experiment_name"].tolist() == ["trial_0", "trial_1"]


def test_results_of_the_original_system_make_a_page(tmp_path):
    old = {"experiment_name": "a", "status": "failed", "error": "ctc", "best_val_loss": math.inf}
    good = {"experiment_name": "b", "status": "completed", "best_val_char_accuracy": 0.3}
    (tmp_path / "old.json").write_text(json.dumps({"all_results": [old, good]}))
    assert main([str(tmp_path / "old.json"), "--output", str(tmp_path / "out")]) == 0


def test_what_is_no_results_is_reported(tmp_path, capsys):
    assert main([str(tmp_path / "absent.json"), "--output", str(tmp_path / "out")]) == 2
    assert "no such results file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda text: text.replace("0.5", "0.x", 1), r"line \d+: \w+ must be a number, got '0.x"),
        (lambda text: text.replace(",1,", ",,", 1), "must have epoch in each row"),
        (lambda text: text.rstrip() + ",1,2,3\n", "damaged: "),
        (lambda text: text.replace("epoch", "epocg"), "must have epoch"),
        (lambda text: "", "damaged: "),
    ],
)
def test_a_damaged_table_of_epochs_is_reported_with_its_place(run, damage, message):
    table = run / "epochs.csv"
    table.write_text(damage(table.read_text()))
    with pytest.raises(DataLoaderError, match=rf"epochs\.csv: .*{message}"):
        learning_curves(run)


def test_a_single_path_is_a_run_of_its_own(run):
    assert compare(str(run)).equals(compare([str(run)]))
