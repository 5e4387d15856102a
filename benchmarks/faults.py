"""Random kills of workers, nodes and drivers over one run, beside one that nobody disturbed.

Both runs train the same short presets on a cluster of two nodes on this machine, one at a time, so
that the order in which trials reach a rung is the same. Afterwards nothing may be missing: every
trial finished, every epoch there once, the same trials stopped at the same epochs, the same figures
to the last bit, the same winner.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from benchmarks.support.report import write
from raytune_ocr.data import generate_dataset
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.record import FINISHED
from raytune_ocr.training.checkpoints.checkpoint import read_state
from raytune_ocr.tune.execution.ray_executor.trainable import newest_state

HEAD = {"num_cpus": 0, "include_dashboard": False}
PRESET = """
  {name}:
    model: {{name: {model}}}
    training: {{num_epochs: {epochs}, learning_rate: {rate}, use_tensorboard: false}}
    early_stopping: {{patience: 0}}
    scheduler: {{type: none}}
"""
KINDS = {"worker": 3, "driver": 2, "node": 1}  # how often each is killed
STARTING = 0.3  # of the kills come at any time after the one before, the others after an epoch
START_SECONDS = 10.0  # that a driver takes to its first epoch, and more
FIGURES = ["experiment_name", "epoch", "train_loss", "val_loss", "val_char_accuracy"]


def write_space(path: Path, trials: int, epochs: int) -> None:
    """Presets that differ in model and learning rate."""
    presets = [
        PRESET.format(
            name=f"trial_{number}",
            model="ctc_small" if number % 2 else "small",
            epochs=epochs,
            rate=1e-3 * (1 + number % 4),
        )
        for number in range(trials)
    ]
    path.write_text("experiments:" + "".join(presets), encoding="utf-8")


class Machines:
    """A head and two nodes with a CPU each: real processes, which can be killed."""

    def __init__(self) -> None:
        os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")  # for busy machines
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args=HEAD)
        self.nodes = [self.cluster.add_node(num_cpus=1) for _ in range(2)]
        self.cluster.wait_for_nodes()

    def replace_node(self, rng: random.Random) -> None:
        """Kill a node with all that runs on it; a new one joins."""
        node = self.nodes.pop(rng.randrange(len(self.nodes)))
        self.cluster.remove_node(node, allow_graceful=False)
        self.nodes.append(self.cluster.add_node(num_cpus=1))


class Run:
    """One output folder and the processes that work on it."""

    def __init__(self, folder: Path, name: str, address: str) -> None:
        self.output = folder / name
        self.results = folder / f"{name}.json"
        self.log = folder / f"{name}.log"
        self.arguments = [
            *("--config", str(folder / "space.yaml"), "--data", str(folder / "data")),
            *("--output-dir", str(self.output), "--results-file", str(self.results)),
            *("--max-concurrent", "1", "--grace-period", "2", "--reduction-factor", "2"),
            *("--address", address, "--resume-if-any"),
        ]

    def start(self) -> subprocess.Popen:
        """Start the driver, with --resume if there is a run."""
        with self.log.open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "raytune_ocr.tune", *self.arguments],
                stdout=log,
                stderr=log,
            )

    def trained(self) -> int:
        """Epochs, those trained again counted again."""
        logs = self.output.glob("*/logs/training.log")
        return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in logs)

    def to_redo(self) -> int:
        """Epochs of the journal that are in no whole state of their unfinished trial."""
        missing = 0
        for name, trial in Journal(self.output).read().trials.items():
            if trial.status not in FINISHED and trial.epochs:
                newest = newest_state(self.output / name)
                saved = read_state(newest)["epoch"] if newest else 0
                missing += max(0, len(trial.epochs) - saved)
        return missing

    def epochs(self) -> int:
        """Epochs in the run's journal."""
        return sum(len(trial.epochs) for trial in Journal(self.output).read().trials.values())

    def epoch_seconds(self) -> float:
        """Of the longest epoch in the journal."""
        trials = Journal(self.output).read().trials.values()
        return max((row["seconds"] for trial in trials for row in trial.epochs), default=1.0)

    def table(self) -> pd.DataFrame:
        """What both runs must agree on."""
        return pd.read_csv(self.output / "epochs.csv")[FIGURES]

    def verdicts(self) -> list[tuple[str, str, str, int]]:
        """How every trial ended."""
        document = json.loads(self.results.read_text(encoding="utf-8"))
        keys = ("experiment_name", "status", "stop_reason", "total_epochs")
        return sorted(tuple(result[key] for key in keys) for result in document["all_results"])

    def winner(self) -> str:
        """Which trial is best."""
        document = json.loads(self.results.read_text(encoding="utf-8"))
        return str(document["best_result"]["experiment_name"])


def training_process() -> psutil.Process | None:
    """The process that trains, if one does."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "ImplicitFunc.train" in " ".join(process.cmdline()):
                return process
    return None


class Disturbance:
    """Kills at moments of chance, in all that a driver does.

    A worker or a node is killed again only after a trial has got on: one that is lost twice before
    it does has failed, by the tuner's own rule.

    Attributes:
        kills: by what was killed, and whether it trained or started.
        lost: epochs of the journal that were in no whole state when a driver was killed.
    """

    def __init__(self, run: Run, machines: Machines, minutes: float, rng: random.Random) -> None:
        self.run = run
        self.machines = machines
        self.rng = rng
        self.kills: Counter[str] = Counter()
        self.lost = 0
        self._until = time.monotonic() + 60 * minutes
        self._struck_at = -1  # epochs in the journal when a worker or a node was last killed

    def disturb(self) -> None:
        """Until time is up; then the run comes to its end."""
        while True:
            driver = self.run.start()
            while self._moment(driver):
                self._strike(driver)
            driver.wait()
            if driver.returncode == 0:
                return
            if driver.returncode != -signal.SIGKILL:
                raise SystemExit(
                    f"the run ended with {driver.returncode} after {dict(self.kills)}:\n"
                    f"{self.run.log.read_text()[-3000:]}\n"
                    f"{(self.run.output / 'ray.log').read_text()[-3000:]}"
                )

    def _moment(self, driver: subprocess.Popen) -> bool:
        """Wait for the next one; False: the driver has ended, or time is up."""
        before, begun = self.run.epochs(), time.monotonic()
        starting = self.rng.random() < STARTING
        seconds = self.rng.uniform(0, START_SECONDS if starting else self.run.epoch_seconds())
        while driver.poll() is None and time.monotonic() < self._until:
            if not starting and self.run.epochs() == before:
                begun = time.monotonic()
            if time.monotonic() - begun >= seconds:
                return True
            time.sleep(0.02)
        return False

    def _strike(self, driver: subprocess.Popen) -> None:
        epochs, trains = self.run.epochs(), training_process()
        possible = dict(KINDS) if epochs > self._struck_at else {"driver": 1}
        if trains is None:
            possible.pop("worker", None)
        kind = self.rng.choices(list(possible), list(possible.values()))[0]
        if kind == "driver":
            driver.kill()
            driver.wait()
            self.lost += self.run.to_redo()
        elif kind == "node":
            self.machines.replace_node(self.rng)
        elif trains is not None:
            trains.kill()
        if kind != "driver":
            self._struck_at = epochs
        self.kills[f"{kind} while {'training' if trains else 'starting'}"] += 1


def main() -> int:
    """Run, compare, write; 1 when anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3, help="of disturbance (default 3)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=12)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="rf"))
    machines = Machines()
    try:
        generate_dataset(folder / "data", sizes={"train": 384, "val": 64, "test": 8}, seed=3)
        write_space(folder / "space.yaml", arguments.trials, arguments.epochs)
        calm, rough = (Run(folder, name, machines.cluster.address) for name in ("calm", "rough"))
        if calm.start().wait() != 0:
            raise SystemExit(f"the undisturbed run failed: {calm.log.read_text()[-2000:]}")
        rng = random.Random(arguments.seed)
        disturbance = Disturbance(rough, machines, arguments.minutes, rng)
        disturbance.disturb()
        order = ["experiment_name", "epoch"]
        ours, theirs = (run.table().sort_values(order, ignore_index=True) for run in (rough, calm))
        outcome: dict[str, Any] = {
            "minutes": arguments.minutes,
            "seed": arguments.seed,
            "trials": arguments.trials,
            "kills": dict(sorted(disturbance.kills.items())),
            "trials_lost": arguments.trials - sum(v[1] == "completed" for v in rough.verdicts()),
            "reported_epochs_lost": disturbance.lost,
            "epochs": len(theirs),
            "epochs_trained_again": rough.trained() - calm.trained(),
            "same_epochs_and_figures": ours.equals(theirs),
            "same_ends": rough.verdicts() == calm.verdicts(),
            "same_winner": rough.winner() == calm.winner(),
        }
        print(json.dumps(outcome, indent=2))
        print(write("faults", outcome))
        return 0 if all(outcome[name] for name in outcome if name.startswith("same_")) else 1
    finally:
        machines.cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
