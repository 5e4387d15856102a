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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from benchmarks.report import write
from raytune_ocr.data import generate_dataset
from raytune_ocr.training.checkpoint import read_state
from raytune_ocr.tune.results import FINISHED
from raytune_ocr.tune.state import RunState
from raytune_ocr.tune.trial import newest_state

PRESET = """
  {name}:
    model: {{name: {model}}}
    training: {{num_epochs: {epochs}, learning_rate: {rate}, use_tensorboard: false}}
    early_stopping: {{patience: 0}}
    scheduler: {{type: none}}
"""
STRIKES = 1  # by one driver: a trial that is lost twice without getting on has failed
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

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
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
        """The driver, going on where there is something to go on from."""
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
        """Epochs that were noted but are in no whole state of their unfinished trial."""
        missing = 0
        for name, kept in RunState(self.output).read().trials.items():
            if kept.status not in FINISHED and kept.epochs:
                newest = newest_state(self.output / name)
                saved = read_state(newest)["epoch"] if newest else 0
                missing += max(0, len(kept.epochs) - saved)
        return missing

    def table(self) -> pd.DataFrame:
        """What both runs must agree on."""
        return pd.read_csv(self.output / "epochs.csv")[FIGURES]

    def verdicts(self) -> list[tuple[str, str, str, int]]:
        """How every trial ended."""
        document = json.loads(self.results.read_text(encoding="utf-8"))
        keys = ("experiment_name", "status", "stop_reason", "total_epochs")
        return sorted(tuple(result[key] for key in keys) for result in document["all_results"])


def training_process() -> psutil.Process | None:
    """The process that trains, if one does."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "ImplicitFunc" in " ".join(process.cmdline()):
                return process
    return None


def strike(
    driver: subprocess.Popen, machines: Machines, kinds: Sequence[str], rng: random.Random
) -> str:
    """Kill one of `kinds`; returns what was killed, "" if there was nothing."""
    kind = rng.choice(kinds)
    if kind == "driver":
        driver.kill()
        driver.wait()
    elif kind == "node":
        machines.replace_node(rng)
    elif (process := training_process()) is not None:
        process.kill()
    else:
        return ""
    return kind


def disturb(
    run: Run, machines: Machines, minutes: float, rng: random.Random
) -> tuple[Counter[str], int]:
    """Kill at random until time is up, then let the run end; kills by kind, noted epochs lost."""
    until = time.monotonic() + 60 * minutes
    kills: Counter[str] = Counter()
    redone = 0
    while True:
        driver = run.start()
        strikes = 0
        while driver.poll() is None and time.monotonic() < until:
            time.sleep(rng.uniform(1, 10))
            kinds = ["driver"] if strikes == STRIKES else ["driver", "node", "worker"]
            if driver.poll() is not None or not (kind := strike(driver, machines, kinds, rng)):
                continue
            kills[kind] += 1
            if kind == "driver":
                redone += run.to_redo()
            else:
                strikes += 1
        driver.wait()
        if driver.returncode == 0:
            return kills, redone
        if driver.returncode != -signal.SIGKILL:
            raise SystemExit(
                f"the run ended with {driver.returncode} after {dict(kills)}:\n"
                f"{run.log.read_text()[-3000:]}\n{(run.output / 'ray.log').read_text()[-3000:]}"
            )


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
        kills, redone = disturb(rough, machines, arguments.minutes, random.Random(arguments.seed))
        order = ["experiment_name", "epoch"]
        ours, theirs = (run.table().sort_values(order, ignore_index=True) for run in (rough, calm))
        outcome: dict[str, Any] = {
            "minutes": arguments.minutes,
            "seed": arguments.seed,
            "trials": arguments.trials,
            "kills": dict(kills),
            "trials_lost": arguments.trials - sum(v[1] == "completed" for v in rough.verdicts()),
            "noted_epochs_lost": redone,
            "epochs": len(theirs),
            "epochs_trained_again": rough.trained() - calm.trained(),
            "same_epochs_and_figures": ours.equals(theirs),
            "same_ends": rough.verdicts() == calm.verdicts(),
        }
        print(json.dumps(outcome, indent=2))
        print(write("faults", outcome))
        return 0 if outcome["same_epochs_and_figures"] and outcome["same_ends"] else 1
    finally:
        machines.cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
