"""How long until every idle slot of a cluster trains, asked for at once and one after another.

Trials are stand-ins: their processes are real, and wait as long as a real one takes to import
PyTorch and its model on a machine that has the time. Here all of them share this one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.support.report import table, write
from raytune_ocr.tune.cluster.cluster import MOST_PENDING, prepare_environment

IMPORT_SECONDS = 3.0
WAYS = {"all at once": str(MOST_PENDING), "one after another": "1"}


def start_all(slots: int, folder: Path) -> float:
    """Seconds from the start of Ray Tune until `slots` trials train on as many CPUs."""
    import ray
    from ray import tune

    from raytune_ocr.tune.cluster.ray_patches import reuse_idle_workers
    from raytune_ocr.tune.execution.ray_executor.ray_adapters import (
        RaySearchAlgorithm,
        RaySearcher,
        placement,
    )

    class StandIn(tune.Trainable):
        """Holds its slot until all are taken."""

        def setup(self, config: dict[str, Any]) -> None:
            """As long as the imports of a trial take."""
            time.sleep(IMPORT_SECONDS)

        def step(self) -> dict[str, Any]:
            """Leave the time, and wait for the others."""
            (folder / self.config["experiment_name"]).write_text(str(time.time()))
            while len(list(folder.glob("slot_*"))) < slots:
                time.sleep(0.2)
            return {"done": True, "best_score": 0.0}

        def save_checkpoint(self, folder: str) -> None:
            """Nothing is kept."""

    prepare_environment(local=True)
    ray.init(num_cpus=slots, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    reuse_idle_workers()
    trials = iter([SimpleNamespace(name=f"slot_{number}") for number in range(slots)])
    searcher = RaySearcher(
        lambda: next(trials, None),
        lambda trial: {"experiment_name": trial.name, "request": {"cpu": 1}},
        lambda: slots,
    )
    tuner = tune.Tuner(
        tune.with_resources(StandIn, placement),
        tune_config=tune.TuneConfig(
            metric="best_score",
            mode="max",
            num_samples=-1,
            search_alg=RaySearchAlgorithm(searcher),
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "ray"), verbose=0),
    )
    begun = time.time()
    tuner.fit()
    ray.shutdown()
    return max(float(path.read_text()) for path in folder.glob("slot_*")) - begun


def measure(slots: int, way: str) -> float:
    """One figure, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="rs") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.slots", "--run", str(slots), folder],
            env={**os.environ, "TUNE_MAX_PENDING_TRIALS_PG": WAYS[way]},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", nargs="*", type=int, default=[8, 64])
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=WAYS)
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(start_all(int(arguments.run[0]), Path(arguments.run[1]))))
        return
    rows = [
        {"slots": slots, **{f"{way}, s": measure(slots, way) for way in arguments.ways}}
        for slots in arguments.slots
    ]
    print(table(rows))
    print(write("slots", {"import_seconds": IMPORT_SECONDS, "slots": rows}))


if __name__ == "__main__":
    main()
