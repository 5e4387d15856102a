"""The trials table: what it makes of epochs, how it ranks, which targets it finds met."""

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytune_ocr import plugins
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.results import aggregate
from raytune_ocr.results.aggregate import Aggregator, figures_table, ranking, trials_table
from raytune_ocr.results.document import results_document, write_json
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.results.tables import write_tables
from raytune_ocr.tune import load_results

SCORES = st.one_of(st.sampled_from([0.0, 0.5, 1.0, math.nan]), st.floats(0, 1))
LOSSES = st.one_of(SCORES, st.just(math.inf))


def record_of(name="a", scores=(0.5,), status="completed", losses=(), **settings):
    """A trial with an epoch for each score: (characters, sequences) or characters alone."""
    record = TrialRecord(
        TrainingConfig(experiment_name=name, **settings), status=status, stop_reason="max_epochs"
    )
    for epoch, score in enumerate(scores, 1):
        char, seq = score if isinstance(score, tuple) else (score, 0.1)
        figures = {"train_loss": 1 / epoch, "val_char_accuracy": char, "val_seq_accuracy": seq}
        figures |= {"val_loss": losses[epoch - 1]} if losses else {}
        record.add({"epoch": epoch, "seconds": 2.0 * epoch, "memory_mb": 100.0 * epoch, **figures})
    return record


def names_of(records):
    return [record.name for record in ranking(records)]


def row_of(record, targets=None):
    return trials_table([record], targets).iloc[0]


@settings(max_examples=50)
@given(st.lists(st.lists(st.tuples(SCORES, LOSSES), max_size=4), min_size=1, max_size=4))
def test_the_best_epoch_is_the_one_whose_weights_are_kept(curves):
    records = [
        record_of(f"t{number}", [char for char, _ in curve], losses=[loss for _, loss in curve])
        for number, curve in enumerate(curves)
    ]
    for mode, monitor in (("max", "val_char_accuracy"), ("min", "val_loss")):
        for record in records:
            record.config.early_stopping_monitor = monitor
            record.config.early_stopping_mode = mode
        found = trials_table(records)["best_epoch"]
        expected = [record.best.get("epoch") for record in records]
        assert [None if pd.isna(epoch) else epoch for epoch in found] == expected


def test_figures_are_of_the_best_epoch_and_costs_are_of_all():
    row = row_of(record_of(scores=(0.2, 0.6, 0.4)))
    assert (row["best_epoch"], row["best_val_char_accuracy"], row["train_loss"]) == (2, 0.6, 0.5)
    assert (row["training_time"], row["total_epochs"], row["train_time_per_epoch"]) == (
        12.0,
        3,
        4.0,
    )
    assert row["final_train_loss"] == pytest.approx(1 / 3)
    assert row["memory_mb"] == 300.0 and math.isnan(row["cpu_percent"])


def test_the_last_loss_is_reported_also_where_it_is_nan():
    spoiled = record_of(scores=(0.2, 0.6))
    spoiled.epochs[-1]["train_loss"] = math.nan
    assert math.isnan(row_of(spoiled)["final_train_loss"])


def test_trials_are_ranked_by_digits_then_strings_then_loss_and_at_last_by_name():
    ranked = {
        "d": ((0.8, 0.3), 0.1),
        "c": ((0.8, 0.2), 0.1),
        "e": ((0.8, 0.2), 0.2),
        "a": ((0.8, 0.1), 0.3),
        "b": ((0.8, 0.1), 0.3),
        "f": ((0.8, 0.1), math.nan),
    }
    records = [record_of(name, [ranked[name][0]], losses=[ranked[name][1]]) for name in "fbaecd"]
    assert names_of(records) == list("dceabf")


def test_a_classifier_that_follows_the_loss_is_ranked_by_it():
    records = []
    for name, accuracy, loss in (("unsure", 0.91, 0.5), ("sure", 0.90, 0.2)):
        config = TrainingConfig(
            experiment_name=name, dataset_name="mnist", early_stopping_monitor="val_loss"
        )
        records.append(TrialRecord(config, status="completed"))
        records[-1].add({"epoch": 1, "val_loss": loss, "val_accuracy": accuracy, "seconds": 1.0})
    assert names_of(records) == ["sure", "unsure"]


def test_what_did_not_complete_or_only_confirms_has_no_rank():
    records = [record_of(name) for name in "abcd"]
    records[0].fail("lost")
    records[1].confirms = "c"
    records[2].status = "running"
    records.append(record_of("e", (math.nan,)))
    assert names_of(records) == ["d"]
    assert trials_table(records)["rank"].notna().tolist() == [False, False, False, True, False]


def test_a_run_without_a_trial_has_a_table_with_all_columns():
    assert set(trials_table([])) >= {"experiment_name", "rank", "training_time", "memory_mb"}
    assert ranking([]) == []


def test_accuracies_are_met_from_above_and_times_from_below():
    targets = {"character_accuracy": 0.6, "sequence_accuracy": 0.2, "training_time_per_epoch": 4}
    row = row_of(record_of(scores=(0.2, 0.6, 0.4)), targets)
    met = {name: bool(row[f"meets_{name}"]) for name in targets}
    assert met == {
        "character_accuracy": True,
        "sequence_accuracy": False,
        "training_time_per_epoch": True,
    }


@pytest.mark.parametrize(
    ("goals", "met"),
    [
        ({}, True),
        ({"character_accuracy": 0.6}, True),
        ({"character_accuracy": 0.7}, False),
        ({"character_accuracy": 0.6, "sequence_accuracy": 0.7}, False),
        ({"accuracy": 0.99}, True),  # of another task
        ({"training_time_per_epoch": 0.1}, True),
    ],
)
def test_convergence_is_met_only_where_the_accuracy_targets_are(goals, met):
    record = record_of(scores=(0.2, 0.6, 0.4))
    assert row_of(record, {**goals, "convergence_epochs": 2})["meets_convergence_epochs"] == met
    assert not row_of(record, {**goals, "convergence_epochs": 1})["meets_convergence_epochs"]


def test_a_trial_without_an_epoch_meets_nothing_and_costs_nothing():
    row = row_of(record_of(scores=()), {"character_accuracy": 0.1, "convergence_epochs": 9})
    assert not row["meets_character_accuracy"] and not row["meets_convergence_epochs"]
    assert (row["training_time"], row["total_epochs"]) == (0.0, 0)


def test_each_trial_without_a_model_says_why(tmp_path):
    records = [
        record_of(name, (0.9 - n / 10,), output_dir=str(tmp_path))
        for n, name in enumerate("abcdef")
    ]
    records[3].fail("lost")
    records[4].confirms = "a"
    records.append(record_of("g", ()))
    model = tmp_path / "a" / "checkpoints" / "best_model.pt"
    model.parent.mkdir(parents=True)
    model.touch()
    table = trials_table(records, keep_models=2).set_index("experiment_name")
    assert table.loc["a", "checkpoint"] == str(model)
    found = table["checkpoint_missing"].to_dict()
    assert pd.isna(found.pop("a"))
    assert found == {
        "b": "missing: moved or removed",
        "c": "removed: not among the best 2 (--keep-models keeps more)",
        "d": "removed: failed trials keep no model",
        "e": "removed: confirming trials keep no model",
        "f": "removed: not among the best 2 (--keep-models keeps more)",
        "g": "no validated epoch",
    }


def test_with_all_models_kept_no_trial_says_that_its_model_was_removed():
    records = [record_of("a"), record_of("b")]
    table = trials_table(records, keep_models=None)
    assert set(table["checkpoint_missing"]) == {"missing: moved or removed"}


def test_a_run_that_continues_reads_only_the_epochs_that_are_new(monkeypatch):
    records = {name: record_of(name, status="running") for name in "abc"}
    aggregator = Aggregator(records, {"character_accuracy": 0.6})
    aggregator.table()
    read = []

    def seen(some):
        read.extend(record.name for record in some)
        return figures_table(some)

    monkeypatch.setattr(aggregate, "figures_table", seen)
    records["b"].add({"epoch": 2, "val_char_accuracy": 0.7, "seconds": 1.0})
    records["c"].complete("max_epochs")  # no new epoch
    records["d"] = record_of("d", (0.3, 0.4))
    now = aggregator.table()
    assert sorted(read) == ["b", "d"]
    del records["a"]
    records["b"].add({"epoch": 2, "val_char_accuracy": 0.2, "seconds": 1.0})  # trained again
    for table in (now[now["experiment_name"] != "a"], aggregator.table()):
        assert table["experiment_name"].tolist() == ["b", "c", "d"]
        assert table["status"].tolist() == ["running", "completed", "completed"]

    pd.testing.assert_frame_equal(
        aggregator.table(), trials_table(list(records.values()), {"character_accuracy": 0.6})
    )


def test_the_json_holds_what_the_table_does_and_loads_as_the_table(tmp_path):
    records = [record_of("b", (0.2, 0.6)), record_of("a", (0.9,)), record_of("c", (), "failed")]
    records[0].used = {"threads": 2}
    targets = {"character_accuracy": 0.7}
    write_json(tmp_path / "results.json", results_document(records, targets, "now"))
    write_tables(tmp_path, records, targets)
    loaded = load_results(tmp_path)
    table = trials_table(records, targets).set_index("experiment_name")
    assert loaded["experiment_name"].tolist() == ["a", "b", "c"]
    written = pd.read_csv(tmp_path / "trials.csv")
    assert set(written) == set(loaded)
    for row in loaded.to_dict("records"):
        for name, value in row.items():
            if name != "experiment_name":
                there = table.loc[row["experiment_name"], name]
                assert value == there or (pd.isna(value) and pd.isna(there)), name


def test_results_are_queried_as_tables_of_ray_are(tmp_path):
    records = [record_of("b", (0.2, 0.6)), record_of("a", (0.9,), learning_rate=0.01)]
    write_json(tmp_path / "r.json", results_document(records, {"character_accuracy": 0.7}, "now"))
    table = load_results(tmp_path / "r.json")
    good = table.query(
        "status == 'completed' and val_char_accuracy > 0.5 and learning_rate < 0.005"
    )
    assert good["experiment_name"].tolist() == ["b"]
    assert table.query("meets_character_accuracy and rank == 1")["experiment_name"].tolist() == [
        "a"
    ]
    assert table.loc[table["val_char_accuracy"].idxmax(), "experiment_name"] == "a"


def test_rows_that_lack_a_figure_or_have_none_are_aggregated_beside_those_that_have_it():
    short, whole = record_of("short", (0.2, 0.6)), record_of("whole", (0.4, 0.3))
    for epoch in whole.epochs:
        epoch |= {"gpu_memory_mb": 9.0, "val_cer": None}
    table = trials_table([short, whole]).set_index("experiment_name")
    assert math.isnan(table.loc["short", "gpu_memory_mb"])
    assert table.loc["whole", "gpu_memory_mb"] == 9.0 and math.isnan(table.loc["whole", "val_cer"])
    assert table["best_epoch"].to_dict() == {"short": 2, "whole": 1}


def test_the_targets_of_trials_are_looked_up_without_searching_for_plugins(monkeypatch):
    searched = []
    monkeypatch.setattr(plugins, "_points", lambda group, **_: searched.append(group) or [])
    records = [record_of(f"t{number}") for number in range(20)]
    document = results_document(records, {"character_accuracy": 0.7, "accuracy": 0.9}, "now")
    assert document["all_results"][0]["targets"] == {
        "character_accuracy": {"goal": 0.7, "value": 0.5, "met": False},
        "accuracy": {"goal": 0.9, "value": None, "met": False},
    }
    assert len(searched) == 0
