"""Real signals to real runs: whatever the trials are doing, the end comes in order and soon."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from raytune_ocr.data import DatasetRegistry
from raytune_ocr.results.journal import Journal
from raytune_ocr.tune.__main__ import main
from raytune_ocr.tune.execution.recording.throttle import Throttle
from raytune_ocr.tune.execution.signals import STOPPING
from tests.fixtures.materials import allowed

SLEEPY = """
import time
from torch import nn
from benchmarks.support.empty import EmptyDataset  # noqa: F401
from raytune_ocr.models import ModelRegistry

@ModelRegistry.register("sleepy")
class Sleepy(nn.Module):
    # The first epoch is short, the second longer than anybody waits.
    def __init__(self, num_classes):
        super().__init__()
        self.linear = nn.Linear(1, num_classes)
        self.steps = 0

    def forward(self, inputs):
        self.steps += self.training
        if self.steps == 2:
            until = time.monotonic() + 600
            while time.monotonic() < until:  # in small pieces or in one: a signal ends neither
                pass
        return self.linear(inputs)
"""
SPACE = """
experiments:
  long:
    model: {name: sleepy, imports: [sleepy_model, benchmarks.support.empty]}
    data: {name: empty}
    training: {num_epochs: 3, use_tensorboard: false}
  waiting:
    model: {name: sleepy, imports: [sleepy_model, benchmarks.support.empty]}
    data: {name: empty}
    training: {num_epochs: 3, use_tensorboard: false}
"""


@pytest.fixture
def long_epoch(request, tmp_path):
    """A run whose trial is in the midst of an epoch that takes ten minutes.

    On the session's Ray, unless the test asks for one of the run's own.
    """
    own_ray = getattr(request, "param", False)
    address = () if own_ray else ("--address", request.getfixturevalue("shared_address"))
    (tmp_path / "sleepy_model.py").write_text(SLEEPY)
    (tmp_path / "space.yaml").write_text(SPACE)
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "raytune_ocr.tune", "--config", "space.yaml"),
            *("--output-dir", "out", "--results-file", "r.json", "--max-concurrent", "1"),
            *address,
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{root}:{tmp_path}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    until = time.monotonic() + 90
    while not any(t.epochs for t in Journal(tmp_path / "out").read().trials.values()):
        assert time.monotonic() < until, "the first epoch was not reached"
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    time.sleep(0.5)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("long_epoch", "number", "status"),
    [(True, signal.SIGINT, 130), (False, signal.SIGTERM, 143)],
    indirect=["long_epoch"],
)
def test_a_signal_in_the_midst_of_an_epoch_ends_a_run_in_seconds(
    long_epoch, tmp_path, number, status
):
    family = psutil.Process(long_epoch.pid).children(recursive=True)
    begun = time.monotonic()
    long_epoch.send_signal(number)
    output, _ = long_epoch.communicate(timeout=120)
    assert time.monotonic() - begun < allowed(10)
    assert long_epoch.returncode == status, output
    assert STOPPING in output and "--resume" in output
    assert json.loads((tmp_path / "r.json").read_text())["best_result"] is None
    trials = Journal(tmp_path / "out").read().trials
    assert {name: len(trial.epochs) for name, trial in trials.items()} == {"long": 1, "waiting": 0}
    assert {trial.status for trial in trials.values()} <= {"pending", "running"}
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(long_epoch, tmp_path):
    long_epoch.send_signal(signal.SIGINT)
    time.sleep(0.3)
    begun = time.monotonic()
    long_epoch.send_signal(signal.SIGINT)
    output, _ = long_epoch.communicate(timeout=60)
    assert time.monotonic() - begun < allowed(1.5)
    assert long_epoch.returncode == 130
    assert "ended at once; finished epochs are saved" in output
    assert len(Journal(tmp_path / "out").read().trials["long"].epochs) == 1


def test_a_signal_before_a_run_begins_says_so_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    def interrupted():
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(DatasetRegistry, "_factories", {"never_read": interrupted})
    (tmp_path / "space.yaml").write_text("experiments: {a: {data: {name: never_read}}}")
    words = ["--config", str(tmp_path / "space.yaml"), "--output-dir", str(tmp_path / "out")]
    # A shell's background jobs, as tests may be, are started with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main([*words, "--results-file", str(tmp_path / "r.json")]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "stopped before the run began\n"
    assert [path.name for path in tmp_path.iterdir()] == ["space.yaml"]


def test_work_that_takes_long_is_done_rarely():
    pace = Throttle(share=0.1)
    assert pace.ready()
    begun = time.monotonic()
    with pace.measured():
        time.sleep(0.02)
    took = time.monotonic() - begun  # more, on a busy machine
    assert not pace.ready()
    time.sleep(took / 0.1)
    assert pace.ready()
