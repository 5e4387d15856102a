import subprocess
import sys
import time

import pytest

from raytune_ocr.config.training_config import TrainingConfig, data_key
from raytune_ocr.data import load_splits
from raytune_ocr.tune.execution.trainable import run_trial, trial
from raytune_ocr.tune.execution.trial_timeout import MARKER, was_abandoned
from raytune_ocr.tune.storage.storage import Storage

HANG = """
import sys, time
from pathlib import Path
from raytune_ocr.tune import deadline
deadline.HANGING = 0.2
deadline.Deadline(0.1, Path(sys.argv[1]))
time.sleep(30)
"""

HANG_ELSEWHERE = """
import sys, time
from raytune_ocr.config import TrainingConfig
from raytune_ocr.tune import deadline, trial
from raytune_ocr.tune.storage import Storage
deadline.HANGING = 5.0
trial._train = lambda *given: time.sleep(50)
config = TrainingConfig(experiment_name="t", output_dir="absent")
told = {"config": config.to_dict(), "threads": 1, "timeout": 0.0, "keeps_states": False}
trial.trial(told, {trial.data_key(config): None}, Storage.at(sys.argv[1]))
"""


@pytest.fixture
def config(tmp_path):
    return TrainingConfig(
        model_name="ctc_small",
        loss_type="ctc",
        num_epochs=1000,
        batch_size=16,
        output_dir=str(tmp_path),
        experiment_name="t",
        use_tensorboard=False,
        early_stopping_patience=0,
    )


def test_a_trial_ends_in_the_midst_of_an_epoch_and_keeps_what_it_reached(config, data):
    rows = []
    begun = time.monotonic()
    run_trial(config, load_splits(data), lambda row, folder: rows.append(row), timeout=6.0)
    assert time.monotonic() - begun < 60
    *epochs, last = rows
    assert epochs and all("epoch" in row for row in epochs)
    assert last["stop_reason"] == "trial_timeout" and "epoch" not in last
    assert "error_message" not in last


def test_a_trial_without_an_epoch_in_time_has_failed(config, data):
    rows = []
    run_trial(config, load_splits(data), lambda row, folder: rows.append(row), timeout=0.0)
    assert [row["stop_reason"] for row in rows] == ["trial_timeout"]
    assert "no epoch was done in time" in rows[0]["error_message"]


def test_a_process_that_hangs_is_ended_and_the_next_attempt_told_why(config, data, tmp_path):
    begun = time.monotonic()
    folder = tmp_path / "t"
    process = subprocess.run([sys.executable, "-c", HANG, str(folder)], timeout=25)
    assert process.returncode == 1 and time.monotonic() - begun < 25
    assert (folder / MARKER).exists()
    rows = []
    run_trial(config, load_splits(data), lambda row, folder: rows.append(row), timeout=100)
    assert [row["stop_reason"] for row in rows] == ["trial_timeout"]
    assert not was_abandoned(folder)


def test_the_next_attempt_is_told_so_in_another_scratch_folder(tmp_path, monkeypatch):
    """Which is all that it has in common with the first, where there is a storage."""
    storage = Storage.at(tmp_path / "storage")
    words = [sys.executable, "-c", HANG_ELSEWHERE, str(tmp_path / "storage")]
    assert subprocess.run(words, timeout=40).returncode == 1
    assert list(storage.files("t")) == [f"t/{MARKER}"]
    rows = []
    monkeypatch.setattr("ray.tune.report", rows.append)
    config = TrainingConfig(experiment_name="t", output_dir="absent")
    told = {"config": config.to_dict(), "threads": 1, "timeout": 100.0, "keeps_states": False}
    trial(told, {data_key(config): None}, storage)
    assert [row["stop_reason"] for row in rows] == ["trial_timeout"]
    assert not storage.files("t")
