"""What is in the journal, the storage and the folder after each change of a trial."""

import errno
from dataclasses import replace

import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.decision import CONTINUE, EXPLOIT, PAUSE, STOP, Decision
from raytune_ocr.tune.storage.storage import Storage
from tests.fixtures.by_hand import EPOCHS, left_behind, presets, stopped, train


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
    assert "No space left on device" in run.recorder.failure


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


def test_a_paused_trial_that_continues_keeps_its_states(start_run, tmp_path):
    given = {"scheduler": "halving", "grace_period": 2, "storage": tmp_path / "storage"}
    run = start_run(presets("a", "b"), **given)
    left_behind(tmp_path / "storage", "a")
    for _ in run.records:
        record = run.next_trial()
        action = train(run, record, 2, 0.9 if record.name == "a" else 0.5)
        assert (action, record.status) == (PAUSE, "paused")
    assert run.next_trial().name == "a" and Storage.at(tmp_path / "storage").files("a")


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
        patch.setattr("raytune_ocr.tune.execution.recording.recorder.copy_checkpoint", fill)
        train_population(run, 2)
        run.study.settle()
    assert "No space left on device: 'a_g1/state.pt'" in run.recorder.failure
    run.journal.close()
    again = start_run(presets(*"abcd"), resume=True, **POPULATION)
    (clone,) = (record for record in again.records.values() if record.parent)
    assert len(clone.epochs) == 2 and not again.recorder.failure


def test_a_clone_with_settings_that_cannot_be_is_named_with_the_file(start_run):
    run = start_run(presets("a", "b"), **POPULATION)
    settings = {"parent": "a", "replaces": "b", "settings": {"learning_rate": -1}}
    run.journal.append_decisions([replace(CLONE, state=settings)])
    run.journal.close()
    with pytest.raises(ConfigurationError, match=r"run_state\.jsonl: a_g1: .*learning_rate"):
        start_run(presets("a", "b"), resume=True, **POPULATION)
