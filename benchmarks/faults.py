"""Random kills of workers and drivers over one run, then a comparison with an undisturbed one.

Both runs train the same short presets, one at a time, so that the order in which trials reach a
rung is the same. Afterwards nothing may be missing: every trial finished, every epoch there once,
the same trials stopped at the same epochs, the same figures to the last bit, the same winner.
"""

from __future__ import annotations

import argparse
import json
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


class Run:
    """One output folder and the processes that work on it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.output = folder / name
        self.results = folder / f"{name}.json"
        self.log = folder / f"{name}.log"
        self.arguments = [
            *("--config", str(folder / "space.yaml"), "--data", str(folder / "data")),
            *("--output-dir", str(self.output), "--results-file", str(self.results)),
            *("--max-concurrent", "1", "--grace-period", "2", "--reduction-factor", "2"),
        ]

    def start(self) -> subprocess.Popen:
        """The driver, going on where there is something to go on from."""
        resume = ["--resume"] if RunState(self.output).exists() else []
        with self.log.open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "raytune_ocr.tune", *self.arguments, *resume],
                stdout=log,
                stderr=log,
            )

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


def worker_of(driver: subprocess.Popen) -> psutil.Process | None:
    """The process that trains for a driver, if one does."""
    try:
        family = psutil.Process(driver.pid).children(recursive=True)
        return next(p for p in family if "ImplicitFunc" in " ".join(p.cmdline()))
    except (psutil.Error, StopIteration):
        return None


def disturb(run: Run, minutes: float, rng: random.Random) -> tuple[Counter[str], int]:
    """Kill at random until time is up, then let the run end; kills by kind, epochs to redo."""
    until = time.monotonic() + 60 * minutes
    kills: Counter[str] = Counter()
    redone = 0
    while True:
        driver = run.start()
        struck = False
        while driver.poll() is None and time.monotonic() < until:
            time.sleep(rng.uniform(1, 14))
            worker = worker_of(driver)
            if rng.random() < 0.3 and worker is not None and not struck:
                worker.send_signal(signal.SIGKILL)
                kills["worker"] += 1
                struck = True  # a trial is tried again once by the same driver
            elif driver.poll() is None:
                driver.send_signal(signal.SIGKILL)
                driver.wait()
                kills["driver"] += 1
                redone += run.to_redo()
        if driver.poll() is None:
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
    try:
        generate_dataset(folder / "data", sizes={"train": 1500, "val": 200, "test": 8}, seed=3)
        write_space(folder / "space.yaml", arguments.trials, arguments.epochs)
        calm, rough = Run(folder, "calm"), Run(folder, "rough")
        if calm.start().wait() != 0:
            raise SystemExit(f"the undisturbed run failed: {calm.log.read_text()[-2000:]}")
        kills, redone = disturb(rough, arguments.minutes, random.Random(arguments.seed))
        order = ["experiment_name", "epoch"]
        ours, theirs = (run.table().sort_values(order, ignore_index=True) for run in (rough, calm))
        outcome: dict[str, Any] = {
            "minutes": arguments.minutes,
            "seed": arguments.seed,
            "trials": arguments.trials,
            "kills": dict(kills),
            "trials_lost": arguments.trials - sum(v[1] == "completed" for v in rough.verdicts()),
            "noted_epochs_redone": redone,
            "epochs": len(theirs),
            "same_epochs_and_figures": ours.equals(theirs),
            "same_ends": rough.verdicts() == calm.verdicts(),
        }
        print(json.dumps(outcome, indent=2))
        print(write("faults", outcome))
        return 0 if outcome["same_epochs_and_figures"] and outcome["same_ends"] else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
