"""Orders to a run whose trials train on a real Ray, also after its driver was killed."""

import signal
import subprocess
import sys

import pytest

from raytune_ocr.results.journal import Journal
from raytune_ocr.results.steering.inbox import send_order
from raytune_ocr.results.steering.orders import new_order, orders_of
from tests.fixtures.materials import wait_until

TRAIN = """
import time

def train(parameters, context):
    context.load()
    while context.epoch < context.epochs:
        time.sleep(0.1)
        context.save(epoch=context.epoch)
        context.report(val_error=parameters["start"] / (context.epoch + 1))
"""
SPACE = """
trainable: slow_train:train
metric: {name: val_error, mode: min}
parameters: {start: 1.0}
training: {use_tensorboard: false}
experiments:
  short: {epochs: 2}
  long: {epochs: 5000}
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts the tuner as a process, and ends it at last."""
    (tmp_path / "slow_train.py").write_text(TRAIN)
    (tmp_path / "space.yaml").write_text(SPACE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path)}")
    begun = []

    def tune(*more):
        words = ["--config", "space.yaml", "--output-dir", "out", "--scheduler", "none", *more]
        begun.append(
            subprocess.Popen(
                [sys.executable, "-m", "raytune_ocr.tune", *words],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return begun[-1]

    yield tune
    for process in begun:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_orders_stop_add_extend_and_pause_trials_and_survive_a_kill(start, tmp_path):
    out = tmp_path / "out"

    def order(action, trial=None, **arguments):
        return send_order(out, new_order(action, trial, **arguments), timeout=60)

    def trial(name):
        return Journal(out).read().trials.get(name)

    def has(name, epochs):
        return trial(name) is not None and len(trial(name).epochs) >= epochs

    driver = start()
    wait_until(lambda: has("long", 2) and trial("short").is_finished, driver)
    assert order("extend", "short", epochs=2).reason.endswith("has trained, got 2")
    assert order("extend", "short", epochs=4).accepted
    assert order("add", "more", preset={"epochs": 5000, "parameters": {"start": 2.0}}).accepted
    assert "unknown" in order("add", "bad", preset={"epohs": 1}).reason
    assert order("stop", "long").reason.startswith("stopped after epoch ")
    assert trial("long").stop_reason == "user"
    wait_until(lambda: trial("short").is_finished and has("more", 2), driver)
    assert order("pause", "more").accepted
    trained = len(trial("more").epochs)
    assert order("tag", "more", tag="good").accepted
    driver.send_signal(signal.SIGKILL)
    driver.wait()

    assert order("note", text="the driver was killed").reason == "written to the journal"
    assert not order("stop", "more").accepted
    driver = start("--resume")
    wait_until(lambda: order("resume", "more").accepted, driver)
    wait_until(lambda: has("more", trained + 2), driver)
    assert order("stop", "more").accepted
    printed, _ = driver.communicate(timeout=120)
    assert driver.returncode == 0, printed
    replay = Journal(out).read()
    assert {name: t.stop_reason for name, t in replay.trials.items()} == {
        "short": "max_epochs",
        "long": "user",
        "more": "user",
    }
    for name, state in replay.trials.items():
        assert [row["epoch"] for row in state.epochs] == list(range(1, len(state.epochs) + 1)), name
    given = [(each.action, each.trial) for each in orders_of(replay.decisions)]
    assert given == [
        *(("extend", "short"), ("add", "more"), ("stop", "long"), ("pause", "more")),
        *(("tag", "more"), ("note", None), ("resume", "more"), ("stop", "more")),
    ]
