"""What a run does next, and after a resume, without a Ray: its trials are trained by hand."""

import errno
import json

import pytest

from raytune_ocr.errors import ConfigurationError, ExperimentFailedError
from raytune_ocr.results.decision import CONTINUE, STOP
from raytune_ocr.results.targets import Target
from raytune_ocr.tune.search.warm_start import Known, KnownPoints
from tests.fixtures.by_hand import EPOCHS, left_behind, presets, stopped, train


def test_trials_whose_figures_go_opposite_ways_are_not_judged_by_each_other(start_run):
    mixed = presets("reads") | presets("loses", early_stopping={"monitor": "val_loss"})
    for scheduler in ("asha", "halving", "median", "pbt"):
        with pytest.raises(ConfigurationError) as caught:
            start_run(mixed, scheduler=scheduler)
    output = str(caught.value)
    assert "got reads, val_char_accuracy (max) and loses, val_loss (min)" in output
    assert "--scheduler none" in output and "--set early_stopping.monitor" in output
    assert len(start_run(mixed, scheduler="none").records) == 2
    errors = presets("loses", "errs", early_stopping={"monitor": "val_loss"})
    assert len(start_run(errors).records) == 2


def test_a_cap_is_said_to_have_ended_a_run_only_where_it_did(start_run):
    known = KnownPoints([Known("old.json", {"learning_rate": 1e-3, "model_name": "medium"}, 0.5)])
    experiments = presets("a", "b", "c")
    experiments["c"]["training"]["learning_rate"] = 2e-3
    run = start_run(experiments, known=known, max_trials=50)
    assert list(run.records) == ["c"]  # the others are known
    train(run, run.records["c"], EPOCHS, 0.5)
    assert run.ended_by == ""
    run = start_run(experiments, max_trials=2)
    for record in run.records.values():
        train(run, record, EPOCHS, 0.5)
    assert run.ended_by.startswith("--max-trials: 2 of 3 trials are done")


def again(epoch, *values):
    """What a trial reports first when it continues from its state of that epoch."""
    rows = [
        {"epoch": number, "val_char_accuracy": value, "val_seq_accuracy": value, "seconds": 1.0}
        for number, value in enumerate(values, 1)
    ]
    return {**rows[epoch - 1], "history": rows[: epoch - 1]}


def test_epochs_that_the_journal_lost_are_judged_as_in_an_undisturbed_run(start_run):
    asha = {"scheduler": "asha", "grace_period": 1, "reduction_factor": 2}
    run = start_run(presets("a", "b", "c"), **asha)
    lost = run.journal.path.read_bytes()
    assert train(run, run.records["a"], 3, 0.9) == CONTINUE
    assert train(run, run.records["b"], 1, 0.1) == STOP
    decided = [(d.trial, d.epoch, d.decision) for d in run.journal.read().decisions]
    run.journal.close()
    run.journal.path.write_bytes(lost)  # as the copy in a storage, which is seconds behind
    run = start_run(presets("a", "b", "c"), resume=True, **asha)
    assert run.report(run.records["a"], again(3, 0.9, 0.9, 0.9)) == CONTINUE
    assert run.report(run.records["b"], again(3, 0.1, 0.8, 0.9)) == STOP
    assert [(d.trial, d.epoch, d.decision) for d in run.journal.read().decisions] == decided
    assert run.records["b"].status == "completed" and len(run.records["b"].epochs) == 1
    run.report(run.records["c"], again(2, 0.95, 0.95))
    assert [row["epoch"] for row in run.records["c"].epochs] == [1, 2]
    run.journal.close()


def test_what_epochs_cost_stays_where_a_resumed_trial_reports_them_again(start_run):
    run = start_run(presets("a"))
    record = run.records["a"]
    cost = {"cpus": 2.0, "cpu_kwh": 0.5, "ended_at": 100.0}
    for row in ({**r, **cost} for r in [*again(2, 0.1, 0.2)["history"], again(2, 0.1, 0.2)]):
        run.report(record, {name: value for name, value in row.items() if name != "history"})
    run.report(record, {**again(3, 0.1, 0.25, 0.3), "cpus": 4.0})
    assert [row["cpus"] for row in record.epochs] == [2.0, 2.0, 4.0]
    assert [row.get("ended_at") for row in record.epochs] == [100.0, 100.0, None]
    assert [row["val_char_accuracy"] for row in record.epochs] == [0.1, 0.25, 0.3]
    run.journal.close()


CONFIRMED = {
    "scheduler": "none",
    "target": Target("character_accuracy", 0.9),
    "confirm": 2,
    "confirm_seeds": 2,
}


def test_what_confirms_the_best_continues_after_the_target_and_a_resume(start_run):
    run = start_run(presets("a", "b", "c"), **CONFIRMED)
    train(run, run.records["a"], 1, 0.5)
    train(run, run.records["b"], EPOCHS, 0.95)
    run.cut()
    first, second, *others = run.next()
    assert (first.name, second.name) == ("b-seed101", "b-seed102")
    train(run, first, EPOCHS, 0.9)
    train(run, second, 1, 0.5)
    stopped(run)
    assert run.ended_by == "" and second.name in run.unfinished
    again = start_run(presets("a", "b", "c"), resume=True, **CONFIRMED)
    left = again.next()
    assert [record.name for record in left] == [second.name, *(r.name for r in others)]
    assert len(left[0].epochs) == 1  # it goes on where it was
    assert again.records["a"].stop_reason == "target" and "c" not in again.records
    for record in left:
        train(again, record, EPOCHS, 0.8)
    again.cut()
    assert again.next() == [] and again.document()["confirmation"]["complete"]
    assert "the target character_accuracy=0.9 is reached" in again.ended_by


def test_what_confirms_and_was_lost_after_the_target_is_trained_again(start_run):
    run = start_run(presets("a"), **CONFIRMED)
    train(run, run.records["a"], EPOCHS, 0.95)
    run.cut()
    lost, _ = run.next()
    train(run, lost, 1, 0.5)
    run.cut()
    assert lost in run.next() and lost.status == "pending"


def test_a_run_that_ended_before_it_confirmed_does_so_when_that_is_asked_for(start_run):
    run = start_run(presets("a", "b"), **CONFIRMED | {"confirm": None})
    for name, value in (("a", 0.5), ("b", 0.95)):
        train(run, run.records[name], EPOCHS, value)
    stopped(run)
    assert "is reached" in run.ended_by
    again = start_run(presets("a", "b"), resume=True, **CONFIRMED)
    assert again.ended_by == ""  # nothing is confirmed yet
    assert len(again.next()) == 4


CUT = [
    {"target": Target("character_accuracy", 0.9)},
    {"time_budget": 1e-9},
    {"max_cost": 2.0, "prices": {"cpu_hour": 3600}},
]


@pytest.mark.parametrize("given", CUT, ids=["target", "time_budget", "max_cost"])
def test_models_of_trials_that_the_run_cut_are_taken_from_the_storage(start_run, tmp_path, given):
    run = start_run(presets("a", "b"), storage=tmp_path / "storage", scheduler="none", **given)
    left_behind(tmp_path / "storage", "a", "b")
    run.budget.begin()
    train(run, run.records["a"], 2, 0.95)  # the others are under way or not begun
    assert run.budget.spent()
    run.cut()
    best = run.document()["best_result"]
    assert best["stop_reason"] == next(iter(given))
    assert best["checkpoint"] == str(tmp_path / "out" / "a" / "checkpoints" / "best_model.pt")
    assert not (tmp_path / "out" / "b" / "checkpoints").exists()  # never trained


def test_a_run_whose_money_is_spent_continues_only_with_more(start_run):
    given = {"scheduler": "none", "prices": {"cpu_hour": 3600, "currency": "EUR"}}
    run = start_run(presets("a", "b"), max_cost=3, **given)
    train(run, run.next_trial(), 3, 0.5)
    assert run.budget.spent()
    stopped(run)
    assert run.document()["costs"]["money"] == 3.0 and "--max-cost 3 is spent" in run.ended_by
    again = start_run(presets("a", "b"), resume=True, max_cost=3, **given)
    assert again.next() == [] and again.budget.spent()
    stopped(again)
    more = start_run(presets("a", "b"), resume=True, max_cost=5, **given)
    assert [record.name for record in more.next()] == ["a", "b"] and not more.budget.spent()


def test_a_disk_that_fills_up_at_the_end_is_reported_with_the_way_out(start_run, monkeypatch):
    run = start_run(presets("a"), scheduler="none", target=Target("character_accuracy", 0.9))
    train(run, run.records["a"], 2, 0.95)

    def fill(name, states):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run.copy, "pull_trial", fill)
    with pytest.raises(ExperimentFailedError, match=r"No space left .* run again with --resume"):
        run.cut()


@pytest.mark.parametrize(("given", "left"), [(1, ["a"]), ("all", ["a", "b", "c"])])
def test_a_run_keeps_the_models_of_as_many_trials_as_the_option_says(
    start_run, tmp_path, monkeypatch, given, left
):
    monkeypatch.setattr("raytune_ocr.tune.execution.run.read_test_split", lambda *given: None)
    run = start_run(presets("a", "b", "c"), scheduler="none", keep_models=given)
    for name, value in (("a", 0.9), ("b", 0.5), ("c", 0.1)):
        model = tmp_path / "out" / name / "checkpoints" / "best_model.pt"
        model.parent.mkdir(parents=True)
        model.touch()
        train(run, run.records[name], EPOCHS, value)
    run.end()
    found = sorted(path.parent.name for path in (tmp_path / "out").glob("*/checkpoints"))
    assert found == left
    results = json.loads((tmp_path / "results.json").read_text())["all_results"]
    shown = {r["experiment_name"]: (r["checkpoint"], r.get("checkpoint_missing")) for r in results}
    for name, (checkpoint, why) in shown.items():
        assert (checkpoint is None) == (name not in left)
        expected = "removed: not among the best 1 (--keep-models keeps more)"
        assert why == (None if name in left else expected)
