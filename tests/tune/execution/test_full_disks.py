"""Small file systems that fill up, each with one of the things that a run writes to.

The run ends with the name of the file, its trials stay unfinished, and with room it goes on.
"""

import shutil
import tempfile
import time

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import PackedSplit
from raytune_ocr.errors import ExperimentFailedError
from raytune_ocr.training.callbacks.base import Callback
from raytune_ocr.tune import HyperparameterTuner
from raytune_ocr.tune.execution.ray_executor.trainable import newest_state, run_trial
from raytune_ocr.tune.execution.run import Run
from raytune_ocr.tune.options import TuneOptions
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.search_space import read_space
from raytune_ocr.tune.storage.mirror import RunCopy, keep_state
from tests.fixtures.materials import allowed
from tests.fixtures.readers import packed

pytest_plugins = ["tests.fixtures.disks"]


class Trial:
    """A trial that is trained here, its reports, and its states in its folder."""

    def __init__(self, folder, **settings):
        self.config = TrainingConfig(
            experiment_name="t", output_dir=str(folder), num_epochs=3, batch_size=32, **settings
        )
        self.folder = folder / "t"
        self.rows = []

    def train(self, data, *callbacks):
        """Train from the newest state; return the last report."""

        def report(row, state):
            self.rows.append(row)
            if state:
                keep_state(self.folder, state, row["epoch"])

        newest = newest_state(self.folder)
        run_trial(self.config, data, report, resume_from=newest, callbacks=callbacks)
        return self.rows[-1]


class Filling(Callback):
    """Fills a disk at the beginning of an epoch."""

    def __init__(self, disk, epoch):
        self.disk = disk
        self.epoch = epoch

    def on_epoch_begin(self, trainer, epoch):
        if epoch + 1 == self.epoch:
            self.disk.fill()


@pytest.fixture(scope="module")
def digits():
    split = packed(32)
    return {"train": split, "val": PackedSplit(split.images, split.targets, "val")}


READER = {"model_name": "ctc_small", "loss_type": "ctc", "early_stopping_patience": 0}


def test_a_trial_without_room_for_temporary_files_is_unfinished_and_continues(
    small_disk, digits, tmp_path, monkeypatch
):
    trial = Trial(tmp_path, use_tensorboard=False, **READER)
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk.folder))
    last = trial.train(digits, Filling(small_disk, 2))
    assert str(small_disk.folder) in last["disk_full"] and "error_message" not in last
    assert [row["epoch"] for row in trial.rows[:-1]] == [1]
    small_disk.make_room()
    assert trial.train(digits)["stop_reason"] == "max_epochs"
    assert [row["epoch"] for row in trial.rows if "epoch" in row] == [
        1,
        1,
        2,
        3,
    ]  # one reported again


# TensorBoard writes in a thread of its own, and says it again where it is called.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("part", "epoch"), [("tensorboard", 2), ("checkpoints", 2), ("logs", 1)])
def test_a_trial_without_room_in_a_folder_of_its_own_is_unfinished_and_continues(
    small_disk, digits, tmp_path, part, epoch
):
    trial = Trial(tmp_path, use_tensorboard=True, **READER)
    trial.folder.mkdir()
    (trial.folder / part).symlink_to(small_disk.folder)
    last = trial.train(digits, Filling(small_disk, epoch))
    assert "No space left on device" in last["disk_full"] and "error_message" not in last
    assert str(trial.folder / part) in last["disk_full"]
    small_disk.make_room()
    assert trial.train(digits)["stop_reason"] == "max_epochs"


def started(folder, results_file, resume=False):
    """A run of two presets, whose trials are reported by hand."""
    folder.mkdir(exist_ok=True)
    experiments = {name: {"training": {"num_epochs": 3}} for name in ("a", "b")}
    space = read_space({"experiments": experiments}, "space.yaml", output_dir=str(folder))
    run = Run(folder, TuneOptions(scheduler="none"), RunCopy(None, folder), "t", results_file)
    run.start(space, KnownPoints(), resume)
    if not resume:
        run.forget_old()
    run.save_state()
    return run


def report(run, name, epoch):
    record = run.records[name]
    record.status = "running"
    row = {"epoch": epoch, "val_char_accuracy": 0.5, "val_seq_accuracy": 0.5, "train_loss": 1.0}
    row |= {"seconds": 1.0, "cpus": 1.0, "gpus": 0.0}
    run.report(record, {**row, "stop_reason": "max_epochs" if epoch == 3 else ""})


def test_a_journal_without_room_ends_the_run_and_has_all_before(small_disk, tmp_path):
    folder = small_disk / "out"
    run = started(folder, tmp_path / "results.json")
    report(run, "a", 1)
    small_disk.fill()
    epoch = 1
    while not run.recorder.failure:  # what is left of the last block takes some lines
        epoch += 1
        report(run, "b", epoch)
        assert epoch < 100
    assert (
        "No space left on device" in run.recorder.failure
        and "run_state.jsonl" in run.recorder.failure
    )
    run.journal.close()
    small_disk.make_room()
    again = started(folder, tmp_path / "results.json", resume=True)
    assert [len(again.records[name].epochs) for name in ("a", "b")] >= [1, 0]
    assert again.unfinished == ["a", "b"]
    report(again, "a", 2)
    assert not again.recorder.failure


def test_a_results_file_without_room_ends_the_run_and_is_whole_afterwards(small_disk, tmp_path):
    path = small_disk / "results.json"
    run = started(tmp_path / "out", path)
    run.save_results()
    before = path.read_text()
    small_disk.fill()
    for epoch in (1, 2, 3):
        report(run, "a", epoch)
    until = time.monotonic() + allowed(60)
    while not run.recorder.failure and time.monotonic() < until:  # not more often than it takes
        run.recorder.write_due()
    assert "No space left on device" in run.recorder.failure and str(path) in run.recorder.failure
    assert path.read_text() == before
    assert run.journal.read().trials["a"].is_finished
    small_disk.make_room()
    run.save_results()
    assert '"experiment_name": "a"' in path.read_text()


def test_a_disk_that_is_full_at_the_end_is_one_error_with_the_way_out(small_disk, tmp_path):
    (tmp_path / "space.yaml").write_text("experiments: {a: {model: {name: ctc_small}}}")
    path = small_disk / "results.json"
    tuner = HyperparameterTuner(
        str(tmp_path / "space.yaml"), output_dir=tmp_path / "out", results_file=path
    )

    class Runner:
        """Trains nothing, and the disk fills up in the meantime."""

        def train(self, unfinished, resuming):
            tuner.run.forget_old()
            tuner.run.save_state()
            tuner.run.records["a"].fail("nothing was trained")
            small_disk.fill()

    tuner.runner = Runner()
    with pytest.raises(ExperimentFailedError, match=r"No space left.*results\.json.*--resume"):
        tuner.run_experiments()
    assert shutil.disk_usage(small_disk.folder).free == 0
