"""Trials that take too long: they end between two steps, or are ended from outside."""

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import load_splits
from raytune_ocr.tune.execution.ray_executor import trial_timeout
from raytune_ocr.tune.execution.ray_executor.trainable import run_trial
from raytune_ocr.tune.execution.ray_executor.trial_timeout import HANGING, Watch


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
    run_trial(config, load_splits(data), lambda row, folder: rows.append(row), timeout=6.0)
    *epochs, last = rows
    assert epochs and all("epoch" in row for row in epochs)
    assert last["stop_reason"] == "trial_timeout" and "epoch" not in last
    assert "error_message" not in last


def test_a_trial_without_an_epoch_in_time_has_failed(config, data):
    rows = []
    run_trial(config, load_splits(data), lambda row, folder: rows.append(row), timeout=0.0)
    assert [row["stop_reason"] for row in rows] == ["trial_timeout"]
    assert "no epoch finished in time" in rows[0]["error_message"]


@pytest.fixture
def clock(monkeypatch):
    """The time, as a test sets it."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(trial_timeout, "time", clock)
    return clock


def test_a_trial_hangs_once_it_trains_well_beyond_its_deadline(clock):
    watch = Watch()
    watch.begin("a", 5.0)
    watch.begin("b", None)
    watch.begin("c", -3.0)
    clock.now += HANGING + 4.9
    assert watch.hanging() == ["c"]
    clock.now += 0.2
    assert watch.hanging() == ["a"] and watch.hanging() == []


def test_a_trial_that_has_ended_does_not_hang(clock):
    watch = Watch()
    watch.begin("a", 5.0)
    watch.end("a")
    watch.end("never begun")
    clock.now += 1000
    assert watch.hanging() == []
