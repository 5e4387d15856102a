"""What a run does next, and after a resume, without a Ray: its trials are trained by hand."""

import errno
import json
from dataclasses import replace

import pytest

from raytune_ocr.errors import ConfigurationError, ExperimentFailedError
from raytune_ocr.results.decision import CONTINUE, EXPLOIT, PAUSE, STOP, Decision
from raytune_ocr.results.targets import Target
from raytune_ocr.tune.execution.run import Run
from raytune_ocr.tune.options import TuneOptions
from raytune_ocr.tune.search.warm_start import Known, KnownPoints
from raytune_ocr.tune.space.search_space import read_space
from raytune_ocr.tune.storage.mirror import RunCopy
from raytune_ocr.tune.storage.storage import Storage

EPOCHS = 4


@pytest.fixture
def start_run(tmp_path):
    """Begins a run of experiments in this test's folder, or goes on with it."""

    def start(experiments, resume=False, known=None, storage=None, prices=None, **options):
        folder = tmp_path / "out"
        folder.mkdir(exist_ok=True)
        content = {"experiments": experiments, "prices": prices}
        space = read_space(content, "space.yaml", output_dir=str(folder))
        copy = RunCopy(storage and Storage.at(storage), folder)
        run = Run(folder, TuneOptions(**options), copy, "t", tmp_path / "results.json")
        run.start(space, known or KnownPoints(), resume)
        if not resume:
            run.forget_old()
        run.save_state()
        return run

    return start


def presets(*names, epochs=EPOCHS, **sections):
    return {name: {"training": {"num_epochs": epochs}, **sections} for name in names}


def train(run, record, epoch, value):
    """Train to that epoch, to its end if that is the last one; returns what the run decides."""
    record.status, action = "running", CONTINUE
    for number in range(len(record.epochs) + 1, epoch + 1):
        row = {"epoch": number, "val_char_accuracy": value, "val_seq_accuracy": value}
        last = number == record.config.num_epochs
        row |= {"cpus": 1.0, "gpus": 0.0, "train_loss": 1.0, "seconds": 1.0}
        row |= {"stop_reason": "max_epochs" if last else ""}
        action = run.report(record, row)
    return action


def left_behind(storage, *names):
    """What an older run's trials have left in a storage."""
    for name in names:
        for part in ("checkpoints/best_model.pt", "checkpoint_000004/state.pt"):
            file = storage / name / part
            file.parent.mkdir(parents=True)
            file.write_text("of an older run")


def stopped(run):
    """As Ctrl-C leaves it."""
    run.cut()
    run.save_state()
    run.journal.close()


def test_trials_whose_figures_go_opposite_ways_are_not_judged_by_each_other(start_run):
    mixed = presets("reads") | presets("loses", early_stopping={"monitor": "val_loss"})
    for scheduler in ("asha", "halving", "median", "pbt"):
        with pytest.raises(ConfigurationError) as caught:
            start_run(mixed, scheduler=scheduler)
    told = str(caught.value)
    assert "got reads, val_char_accuracy (max) and loses, val_loss (min)" in told
    assert "--scheduler none" in told and "--set early_stopping.monitor" in told
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


def test_what_confirms_the_best_goes_on_after_the_target_and_a_resume(start_run):
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


def test_a_trial_that_is_drawn_takes_nothing_of_its_namesake_in_an_older_run(start_run, tmp_path):
    """Even where the output folder knows of no older run, and in a part that goes on."""
    searched = {"training": {"num_epochs": EPOCHS, "learning_rate": {"uniform": [0.001, 0.01]}}}
    given = {"storage": tmp_path / "storage", "search": "optuna", "scheduler": "none"}
    left_behind(tmp_path / "storage", *(f"found_000{number}" for number in range(1, 5)))

    def kept():
        return sorted({path.parts[-3] for path in (tmp_path / "storage").glob("*/*/*.pt")})

    experiments = {"found": {"num_samples": 4, **searched}}
    run = start_run(experiments, max_trials=2, **given)
    assert kept() == ["found_0002", "found_0003", "found_0004"]
    run.records["found_0001"].complete("max_epochs")
    assert run.next_trial().name == "found_0002" and kept() == ["found_0003", "found_0004"]
    for record in run.records.values():
        train(run, record, EPOCHS, 0.5)
    stopped(run)
    left_behind(tmp_path / "storage", "found_0001")  # this run's own, by now
    again = start_run(experiments, resume=True, **given)
    assert [record.name for record in again.next()] == ["found_0003"]
    assert kept() == ["found_0001", "found_0004"]


def test_a_paused_trial_that_goes_on_keeps_its_states(start_run, tmp_path):
    given = {"scheduler": "halving", "grace_period": 2, "storage": tmp_path / "storage"}
    run = start_run(presets("a", "b"), **given)
    left_behind(tmp_path / "storage", "a")
    for _ in run.records:
        record = run.next_trial()
        action = train(run, record, 2, 0.9 if record.name == "a" else 0.5)
        assert (action, record.status) == (PAUSE, "paused")
    assert run.next_trial().name == "a" and Storage.at(tmp_path / "storage").files("a")


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


def test_a_run_whose_money_is_spent_goes_on_only_with_more(start_run):
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


def test_a_disk_that_fills_up_at_the_end_is_told_with_the_way_out(start_run, monkeypatch):
    run = start_run(presets("a"), scheduler="none", target=Target("character_accuracy", 0.9))
    train(run, run.records["a"], 2, 0.95)

    def fill(name, states):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run.copy, "pull_trial", fill)
    with pytest.raises(ExperimentFailedError, match=r"No space left .* run again with --resume"):
        run.cut()


def test_a_report_is_in_the_journal_with_what_was_decided_on_it(start_run):
    run = start_run(presets("a", "b"), scheduler="asha", grace_period=2)
    assert train(run, run.next_trial(), 2, 0.9) == CONTINUE
    worse = run.next_trial()
    assert train(run, worse, 2, 0.5) == STOP
    assert (worse.status, worse.stop_reason) == ("completed", "scheduler")
    replay = run.journal.read()
    assert replay.decisions == [
        Decision("asha", "a", 2, CONTINUE, {"score": 0.9}),
        Decision("asha", "b", 2, STOP, {"score": 0.5}),
    ]
    assert replay.trials["b"].stop_reason == "scheduler"
    run.journal.close()
    again = start_run(presets("a", "b"), resume=True, scheduler="asha", grace_period=2)
    assert again.next_trial().name == "a" and again.next_trial() is None


def test_a_full_disk_ends_a_run_in_order(start_run, monkeypatch):
    run = start_run(presets("a", "b"), scheduler="halving", grace_period=2)

    def fill(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    while record := run.next_trial():
        train(run, record, 2, 0.5)
        if record.name == "b":
            break
    monkeypatch.setattr(run.journal, "append_decisions", fill)
    run.next_trial()  # which decides that one of them stops
    assert "No space left on device" in run.failure


# Clones

POPULATION = {"scheduler": "pbt", "grace_period": 2, "max_concurrent": 1}
CLONE = Decision(
    *("pbt", "a_g1", 2, EXPLOIT),
    {"parent": "a", "replaces": "b", "settings": {"learning_rate": 0.002}},
)


def train_population(run, epochs):
    """Train until each trial has had so many epochs; the later its name, the better."""
    while record := run.next_trial():
        if len(record.epochs) >= epochs:
            return
        train(run, record, epochs, sorted(run.records).index(record.name) / 10)


def test_a_resumed_population_has_its_clones_again(start_run):
    run = start_run(presets(*"abcd"), **POPULATION)
    train_population(run, 2)
    assert run.next_trial() is not None  # which decides who is replaced
    (clone,) = (record for record in run.records.values() if record.parent)
    assert clone.parent == "d" and run.records["a"].stop_reason == "scheduler"
    train(run, clone, 3, 0.5)
    stopped(run)
    again = start_run(presets(*"abcd"), resume=True, **POPULATION).records[clone.name]
    assert (again.config, again.parent, again.parent_epoch) == (clone.config, "d", 2)
    assert again.epochs == clone.epochs and len(again.epochs) == 3


def test_a_clone_that_the_journal_had_no_time_to_write_is_made_again(start_run):
    run = start_run(presets(*"abcd"), **POPULATION)
    train_population(run, 2)
    decided = run.study.scheduler.decide(run.study.trials)
    run.journal.append_decisions(decided)  # and then the driver died
    run.journal.close()
    again = start_run(presets(*"abcd"), resume=True, **POPULATION)
    (clone,) = (record for record in again.records.values() if record.parent)
    assert len(clone.epochs) == 2 and again.records["a"].stop_reason == "scheduler"
    assert again.study.scheduler.milestone == 4


def test_a_clone_that_the_disk_had_no_room_for_is_made_by_the_resume(start_run, monkeypatch):
    run = start_run(presets(*"abcd"), **POPULATION)

    def fill(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device", "a_g1/state.pt")

    with monkeypatch.context() as patch:
        patch.setattr("raytune_ocr.tune.execution.run.copy_checkpoint", fill)
        train_population(run, 2)
        run.study.settle()
    assert "No space left on device: 'a_g1/state.pt'" in run.failure
    run.journal.close()
    again = start_run(presets(*"abcd"), resume=True, **POPULATION)
    (clone,) = (record for record in again.records.values() if record.parent)
    assert len(clone.epochs) == 2 and not again.failure


def test_a_clone_with_settings_that_cannot_be_is_named_with_the_file(start_run):
    run = start_run(presets("a", "b"), **POPULATION)
    settings = {"parent": "a", "replaces": "b", "settings": {"learning_rate": -1}}
    run.journal.append_decisions([replace(CLONE, state=settings)])
    run.journal.close()
    with pytest.raises(ConfigurationError, match=r"run_state\.jsonl: a_g1: .*learning_rate"):
        start_run(presets("a", "b"), resume=True, **POPULATION)


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
    told = {r["experiment_name"]: (r["checkpoint"], r.get("checkpoint_missing")) for r in results}
    for name, (checkpoint, why) in told.items():
        assert (checkpoint is None) == (name not in left)
        expected = "removed: not among the best 1 (--keep-models keeps more)"
        assert why == (None if name in left else expected)
