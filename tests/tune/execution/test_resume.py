"""The driver dies again and again at moments of chance: nothing is lost, nothing is different.

`KILLS=20 pytest tests/tune/execution/test_resume.py` kills more often.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from raytune_ocr.results.journal import Journal
from raytune_ocr.results.record import FINISHED

ROOT = Path(__file__).parents[3]
KILLS = int(os.environ.get("KILLS", "3"))
TRIALS, EPOCHS = 8, 8
SLOW = """
import time
from benchmarks.support.empty import Empty, EmptyDataset  # noqa: F401
from raytune_ocr.models import ModelRegistry

@ModelRegistry.register("slow")
class Slow(Empty):
    def forward(self, inputs):
        if self.training:
            time.sleep(0.1)
        return super().forward(inputs)
"""
EXPERIMENT = """
  t{number}:
    model: {{name: slow, imports: [slow_model, benchmarks.support.empty]}}
    data: {{name: empty}}
    training: {{num_epochs: {epochs}, seed: {number}, learning_rate: {rate}}}
    scheduler: {{type: none}}
    early_stopping: {{patience: 0, monitor: val_loss, mode: min}}
"""


class Run:
    """One output folder and the drivers that work on it, one after another.

    Ray stays up, so that a driver costs seconds; a driver's trials die with it.
    """

    def __init__(self, folder, name, address, *more):
        self.folder, self.output = folder, folder / name
        self.results = folder / f"{name}.json"
        self.words = [
            *(sys.executable, "-m", "raytune_ocr.tune", "--config", "space.yaml", "--quiet"),
            *("--output-dir", str(self.output), "--results-file", str(self.results)),
            *("--max-concurrent", "1", "--grace-period", "2", "--reduction-factor", "2"),
            *("--address", address, "--resume-if-any", "--set", "use_tensorboard=false"),
            *more,
        ]

    def start(self):
        return subprocess.Popen(
            self.words,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{self.folder}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def trials(self):
        return Journal(self.output).read().trials

    def epochs(self):
        return sum(len(trial.epochs) for trial in self.trials().values())

    def decisions(self):
        return Journal(self.output).read().decisions

    def finished(self):
        """Finished trials and how much they have logged: more would mean that they ran again."""
        return {
            name: (self.output / name / "logs" / "training.log").stat().st_size
            for name, trial in self.trials().items()
            if trial.status in FINISHED
        }

    def trained(self):
        """Epochs by trial, those done again counted again."""
        logs = self.output.glob("*/logs/training.log")
        return {p.parents[1].name: len(p.read_text().splitlines()) for p in logs}

    def figures(self):
        columns = ["experiment_name", "epoch", "train_loss", "val_loss", "val_accuracy"]
        return pd.read_csv(self.output / "epochs.csv")[columns].sort_values(
            ["experiment_name", "epoch"], ignore_index=True
        )

    def verdicts(self):
        keys = ("experiment_name", "status", "stop_reason", "total_epochs", "best_epoch")
        document = json.loads(self.results.read_text())
        return {tuple(result[key] for key in keys) for result in document["all_results"]}


@pytest.mark.slow
def test_a_driver_killed_again_and_again_ends_as_one_that_was_not(shared_address, tmp_path):
    (tmp_path / "slow_model.py").write_text(SLOW)
    experiments = (
        EXPERIMENT.format(number=n, epochs=EPOCHS, rate=0.01 * (n % 4 + 1)) for n in range(TRIALS)
    )
    (tmp_path / "space.yaml").write_text("experiments:" + "".join(experiments))
    calm, rough = (Run(tmp_path, name, shared_address) for name in ("calm", "rough"))
    process = calm.start()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output

    rng = random.Random(5)
    for _ in range(KILLS):
        before, finished = rough.epochs(), rough.finished()
        process = rough.start()
        # Within an epoch, after one or two of them, or at any time of the start.
        enough = before + rng.choice((1, 1, 1, 2))
        until = time.monotonic() + rng.choice((60, 60, 60, rng.uniform(0, 4)))
        while process.poll() is None and time.monotonic() < until and rough.epochs() < enough:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.1))
        assert process.poll() is None, process.communicate()[0]
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert finished.items() <= rough.finished().items()
        assert rough.epochs() >= before
    process = rough.start()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output

    assert rough.verdicts() == calm.verdicts()
    assert {reason for _, _, reason, _, _ in calm.verdicts()} == {"max_epochs", "scheduler"}
    pd.testing.assert_frame_equal(rough.figures(), calm.figures(), check_exact=True)
    assert rough.decisions() == calm.decisions() != []
    again = {name: count - calm.trained()[name] for name, count in rough.trained().items()}
    assert sum(again.values()) <= KILLS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheduler", "kills", "ended", "trials"),
    [
        # The first is replaced after eight epochs: two more trials, one at each end of an interval.
        ("pbt", (8, 19, 7, 10), 2, 6),
        ("freeze-thaw", (9, 4), 3, 4),
        ("halving", (8, 13), 3, 4),  # two of four end after two epochs, one after four
    ],
)
def test_trials_that_wait_for_each_other_end_alike_where_the_driver_is_killed(
    shared_address, tmp_path, scheduler, kills, ended, trials
):
    (tmp_path / "slow_model.py").write_text(SLOW)
    rates = ("0.02", "0.01", "0.005", "0.002")
    experiments = (EXPERIMENT.format(number=n, epochs=6, rate=r) for n, r in enumerate(rates))
    (tmp_path / "space.yaml").write_text("experiments:" + "".join(experiments))
    calm, rough = (
        Run(tmp_path, name, shared_address, "--scheduler", scheduler) for name in ("calm", "rough")
    )
    process = calm.start()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output

    rng = random.Random(8)
    kills = sorted(kills[: KILLS - 1])
    for enough in kills:  # epochs in the journal
        process = rough.start()
        until = time.monotonic() + 60
        while time.monotonic() < until and rough.epochs() < enough:
            time.sleep(0.005)
        time.sleep(rng.choice((0, 0, 0.1)))
        assert process.poll() is None, process.communicate()[0]
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = rough.start()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output

    assert rough.verdicts() == calm.verdicts()
    assert sum(reason == "scheduler" for _, _, reason, _, _ in calm.verdicts()) == ended
    pd.testing.assert_frame_equal(rough.figures(), calm.figures(), check_exact=True)
    assert rough.decisions() == calm.decisions() != []
    assert len(calm.verdicts()) == trials
    again = sum(rough.trained().values()) - sum(calm.trained().values())
    assert 0 <= again <= len(kills)
