"""Trials that hang, crash or raise, on a real Ray: each ends, and the others go on."""

import json
import os
import re
from pathlib import Path

import pytest

from raytune_ocr.tune.__main__ import main
from tests.fixtures.materials import allowed

ROOT = Path(__file__).parents[3]
FAULTY = """
import ctypes, os, signal, time
from pathlib import Path
from benchmarks.support.empty import Empty, EmptyDataset  # noqa: F401
from raytune_ocr.models import ModelRegistry

def of_kind(kind, fault):
    @ModelRegistry.register(kind)
    class Faulty(Empty):
        def forward(self, inputs):
            if self.training:
                self.steps = getattr(self, "steps", 0) + 1
                with open(Path(__file__).with_name(kind), "a") as log:
                    log.write(f"{self.steps}\\n")
                if Path(__file__).with_name(kind).read_text().count("\\n") >= 2:  # the second epoch
                    fault()
            return super().forward(inputs)

def odd():
    raise ValueError("odd")

def hold_the_interpreter():
    ctypes.PyDLL(None).sleep(10_000)

of_kind("raises", odd)
of_kind("crashes", lambda: os.kill(os.getpid(), signal.SIGSEGV))
of_kind("stopped", lambda: os.kill(os.getpid(), signal.SIGSTOP))
of_kind("holds", hold_the_interpreter)
of_kind("fine", lambda: None)
"""
EXPERIMENT = """
  {name}:
    model: {{name: {name}, imports: [faulty_models]}}
    data: {{name: empty}}
    training: {{num_epochs: 3, use_tensorboard: false}}
    scheduler: {{type: none}}
    early_stopping: {{patience: 0, monitor: val_loss, mode: min}}
"""


@pytest.fixture
def run(tmp_path, monkeypatch, no_shared_ray):
    """Runs trials of these kinds; returns their results by name."""
    (tmp_path / "faulty_models.py").write_text(FAULTY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (tmp_path, ROOT))))  # of Ray's too
    monkeypatch.syspath_prepend(ROOT)

    def run(*kinds, options=()):
        text = "".join(EXPERIMENT.format(name=kind) for kind in kinds)
        (tmp_path / "space.yaml").write_text(f"experiments:{text}")
        words = ["--config", "space.yaml", "--output-dir", "out", "--results-file", "r.json"]
        assert main([*words, "--scheduler", "none", "--quiet", *options]) == 0
        results = json.loads((tmp_path / "r.json").read_text())["all_results"]
        return {result["experiment_name"]: result for result in results}

    return run


@pytest.mark.slow
def test_a_trial_that_fails_on_every_attempt_has_failed_and_the_others_continue(
    run, tmp_path, capfd
):
    results = run("raises", "crashes", "fine")
    assert {name: result["status"] for name, result in results.items()} == {
        "raises": "failed",
        "crashes": "failed",
        "fine": "completed",
    }
    assert results["raises"]["error_message"] == "ValueError: odd"
    log = (tmp_path / "out" / "raises" / "logs" / "error.log").read_text()
    assert log.count("in odd\n") == 2  # attempts
    assert re.search(r"faulty_models.py:\d+ in odd", capfd.readouterr().err)
    assert (tmp_path / "out" / "crashes" / "logs" / "error.log").exists()


@pytest.mark.slow
def test_a_trial_that_hangs_is_ended_whatever_its_process_does(run, monkeypatch):
    monkeypatch.setattr("raytune_ocr.tune.execution.ray_executor.trial_timeout.HANGING", 5.0)
    results = run("stopped", "holds", options=("--trial-timeout", str(round(allowed(10)))))
    assert {
        name: (result["status"], result["stop_reason"], result["total_epochs"])
        for name, result in results.items()
    } == {
        "stopped": ("completed", "trial_timeout", 1),
        "holds": ("completed", "trial_timeout", 1),
    }
