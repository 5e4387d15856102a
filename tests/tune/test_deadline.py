import subprocess
import sys
import time

import pytest

from raytune_ocr.config import TrainingConfig
from raytune_ocr.data import load_splits
from raytune_ocr.tune.deadline import MARKER, was_abandoned
from raytune_ocr.tune.trial import run_trial

HANG = """
import sys, time
from pathlib import Path
from raytune_ocr.tune import deadline
deadline.HANGING = 0.2
deadline.Deadline(0.1, Path(sys.argv[1]))
time.sleep(30)
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
