"""What an old run leaves in a folder, and what a new one there finds of it."""

from pathlib import Path

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.results.analysis import unfinished
from raytune_ocr.results.document import results_document, write_json
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.results.tables import write_tables
from raytune_ocr.training.checkpoints.run_folder import BEST_MODEL, STATE_NAME
from raytune_ocr.training.checkpoints.state_files import read_state, write_state
from raytune_ocr.tune.execution.cleanup import copy_checkpoint, forget_confirmation, tidy
from raytune_ocr.tune.storage.mirror import RunCopy, state_folder
from raytune_ocr.tune.storage.storage import Storage
from tests.fixtures.materials import train_record


def record(name, confirms=""):
    made = TrialRecord(TrainingConfig(experiment_name=name), status="completed", confirms=confirms)
    train_record(made, 2, 0.5)
    return made


def test_a_run_that_confirms_nothing_has_no_trials_of_one_before_that_did(tmp_path):
    folder, there = tmp_path / "out", tmp_path / "storage"
    folder.mkdir()
    copy = RunCopy(Storage.at(there), folder)
    write_tables(folder, [record("a"), record("a-seed101", confirms="a")], {})
    copy.push(now=True)
    for _ in range(2):  # where there are none, nothing is to be done
        forget_confirmation(folder, copy)
    write_tables(folder, [record("a")], {})
    write_json(folder / "results.json", results_document([record("a")], {}, "now"))
    assert unfinished(folder) == []
    for place in (folder, there):
        assert sorted(file.name for file in place.glob("*.csv")) == ["epochs.csv", "trials.csv"]


@pytest.mark.parametrize(
    ("keep_models", "left"),
    [(1, ["best"]), (2, ["best", "second"]), (None, ["best", "lost", "second", "third"])],
)
def test_the_best_trials_keep_their_best_and_their_numbered_models(tmp_path, keep_models, left):
    records = [record(name) for name in ("third", "best", "second", "lost")]
    for one, score in zip(records, (0.1, 0.9, 0.5, 0.8), strict=True):
        one.epochs[-1]["val_char_accuracy"] = score
        for name in ("best_model.pt", "checkpoint_epoch_5.pt", "checkpoint_epoch_10.pt"):
            file = tmp_path / one.name / "checkpoints" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        for number, epoch in enumerate((2, 1)):  # the clock was set back in between
            write_state(tmp_path / one.name / f"checkpoint_{number}" / STATE_NAME, {"epoch": epoch})
    records[3].fail("lost")
    tidy(tmp_path, RunCopy(None, tmp_path), records, keep_models)
    found = sorted(path.parent.name for path in tmp_path.glob("*/checkpoints"))
    assert found == left
    assert all(len(list((tmp_path / name / "checkpoints").iterdir())) == 3 for name in left)
    left_states = [path.relative_to(tmp_path) for path in tmp_path.glob("*/checkpoint_*")]
    assert left_states == [Path("best/checkpoint_0")]


def test_a_clone_has_the_folders_that_its_parent_saved(tmp_path):
    folder, there = tmp_path / "out", tmp_path / "storage"
    for name, saved in ((state_folder(2), "files"), ("checkpoints", "best_files")):
        (folder / "parent" / name / saved / "deep").mkdir(parents=True)
        (folder / "parent" / name / saved / "deep" / "weights.bin").write_text(name)
    write_state(folder / "parent" / state_folder(2) / STATE_NAME, {"epoch": 2, "files": True})
    write_state(folder / "parent" / BEST_MODEL, {"epoch": 1})
    config = TrainingConfig(experiment_name="child", output_dir=str(folder))
    child = TrialRecord(config, parent="parent", parent_epoch=2)
    copy_checkpoint(folder, RunCopy(Storage.at(there), folder), child)
    for root in (folder, there):
        state, best = root / "child" / state_folder(2), root / "child" / "checkpoints"
        assert (state / "files" / "deep" / "weights.bin").read_text() == state.name
        assert (best / "best_files" / "deep" / "weights.bin").read_text() == best.name
    assert read_state(folder / "child" / BEST_MODEL)["config"]["experiment_name"] == "child"
