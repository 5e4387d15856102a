"""How a trial ends by an error, in the process where it trains, and where it is resumed from."""

import os
import shutil
import signal

import pytest
import torch
from ray import tune

from raytune_ocr.config.training_config import TrainingConfig, data_key
from raytune_ocr.errors import DataLoaderError, DivergenceError, ExperimentFailedError
from raytune_ocr.training.checkpoints.run_folder import ERROR_LOG
from raytune_ocr.training.checkpoints.state_files import write_state
from raytune_ocr.tune.execution.ray_executor import trainable
from raytune_ocr.tune.execution.ray_executor.trainable import run_trial
from raytune_ocr.tune.execution.trial_errors import LONGEST, LONGEST_LOGGED
from raytune_ocr.tune.storage.mirror import newest_state
from tests.fixtures.readers import packed


@pytest.fixture
def end_with(tmp_path, monkeypatch):
    """Runs a trial that does something in the midst of its training; returns what it reports."""

    def run(action):
        def train(config, data, report, *others):
            report({"epoch": 1}, None)
            action()

        monkeypatch.setattr(trainable, "_train", train)
        rows = []
        config = TrainingConfig(experiment_name="t", output_dir=str(tmp_path))
        run_trial(config, None, lambda row, folder: rows.append(row))
        return rows[1:]

    return run


def raising(error):
    def action():
        raise error

    return action


def test_an_error_that_comes_back_is_reported_and_logged_whole(end_with, tmp_path):
    (row,) = end_with(raising(DataLoaderError("row 3: no image\n" + "x" * 10_000)))
    assert row["stop_reason"] == "error" and row["experiment_name"] == "t"
    assert row["error_message"].startswith("DataLoaderError: row 3: no image")
    assert len(row["error_message"]) < LONGEST + 100
    log = (tmp_path / "t" / ERROR_LOG).read_text()
    assert "Traceback" in log and "x" * 10_000 in log
    (row,) = end_with(raising(DivergenceError("NaN")))
    assert row["stop_reason"] == "nan"


def test_any_other_error_is_logged_and_raised_so_that_the_trial_is_tried_again(end_with, tmp_path):
    with pytest.raises(ValueError, match="odd"):
        end_with(raising(ValueError("odd")))
    with pytest.raises(ExperimentFailedError) as caught:
        end_with(raising(ValueError("x" * 10_000_000)))
    assert len(str(caught.value)) < LONGEST + 100
    log = (tmp_path / "t" / ERROR_LOG).read_text()
    assert "ValueError: odd" in log and LONGEST_LOGGED < len(log) < 3 * LONGEST_LOGGED


def fill_the_disk():
    torch.save({"weights": torch.zeros(1_000_000)}, "/dev/full")


@pytest.mark.parametrize(
    "action", [fill_the_disk, raising(OSError(28, "No space left on device", "/x/state.pt"))]
)
def test_a_full_disk_is_reported_as_such(end_with, tmp_path, action):
    (row,) = end_with(action)
    assert row["disk_full"].startswith("t: ") and "error_message" not in row
    assert not (tmp_path / "t" / ERROR_LOG).exists()


def test_the_newest_state_is_that_of_the_latest_epoch_whatever_the_clock_said(tmp_path):
    for folder, epoch, seconds in (("000001", 8, 100), ("000002", 9, 50), ("000003", 3, 900)):
        path = tmp_path / f"checkpoint_{folder}" / "state.pt"
        write_state(path, {"epoch": epoch})
        os.utime(path, (seconds, seconds))
    assert newest_state(tmp_path).parent.name == "checkpoint_000002"


def test_a_damaged_or_incomplete_state_is_passed_over(tmp_path, caplog):
    write_state(tmp_path / "checkpoint_1" / "state.pt", {"epoch": 1})
    write_state(tmp_path / "checkpoint_2" / "state.pt", {"weights": 1})
    (tmp_path / "checkpoint_3").mkdir()
    (tmp_path / "checkpoint_3" / "state.pt").write_bytes(b"PK")
    assert newest_state(tmp_path).parent.name == "checkpoint_1"
    assert "checkpoint_3" in caplog.text and "must have epoch" in caplog.text
    assert newest_state(tmp_path / "nothing") is None


def test_a_trial_continues_from_the_checkpoint_that_ray_restores_if_it_is_the_newest(
    tmp_path, monkeypatch
):
    config = TrainingConfig(experiment_name="t", output_dir=str(tmp_path / "out"))
    restored, own = tmp_path / "restored", tmp_path / "out" / "t" / "checkpoint_1"
    write_state(restored / "state.pt", {"epoch": 3})
    asked, from_where = {"config": config.to_dict(), "threads": 1, "timeout": None}, []
    asked |= {"experiment_name": "t", "keeps_states": False, "request": {"cpu": 1.0}}
    monkeypatch.setattr(trainable, "run_trial", lambda *given: from_where.append(given[4]))
    monkeypatch.setattr(tune, "get_checkpoint", lambda: tune.Checkpoint.from_directory(restored))
    for epoch in (None, 2, 4):
        if epoch:
            write_state(own / "state.pt", {"epoch": epoch})
        trainable.trial(asked, {data_key(config): None})
    monkeypatch.setattr(tune, "get_checkpoint", lambda: None)
    trainable.trial(asked, {data_key(config): None})
    assert [path.parent for path in from_where] == [restored, restored, own, own]


class KillAfterSecondReport(tune.Callback):
    """Kills the worker of a trial, and removes what the trial itself has kept."""

    def __init__(self, folder):
        self.folder = folder
        self.reported = []

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.reported.append((result["epoch"], "history" in result))
        if len(self.reported) == 2:
            shutil.rmtree(self.folder)
            os.kill(result["pid"], signal.SIGKILL)


@pytest.mark.slow
def test_a_trial_that_was_killed_continues_from_rays_checkpoint_where_there_is_no_other(
    shared_ray, tmp_path
):
    config = TrainingConfig(
        model_name="ctc_small",
        loss_type="ctc",
        num_epochs=4,
        use_tensorboard=False,
        output_dir=str(tmp_path / "out"),
        experiment_name="t",
    )
    split, key = packed(16), data_key(config)
    asked = {"experiment_name": "t", "config": config.to_dict(), "threads": 1, "timeout": None}
    watch = KillAfterSecondReport(tmp_path / "out" / "t")
    results = tune.Tuner(
        tune.with_parameters(trainable.trial, data={key: {"train": split, "val": split}}),
        param_space={**asked, "keeps_states": False, "request": {"cpu": 1.0}},
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(tmp_path),
            failure_config=tune.FailureConfig(max_failures=1),
            callbacks=[watch],
            verbose=0,
        ),
    ).fit()
    assert not results.errors
    again = watch.reported[2:]  # the epoch of the checkpoint first, with those before it
    assert again[0] in [(1, True), (2, True)] and again[-1] == (4, False)
    assert [epoch for epoch, _ in again] == list(range(again[0][0], 5))
