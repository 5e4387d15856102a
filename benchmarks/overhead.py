"""What the tuner itself costs: runs of empty trials, beside plain Ray Tune with the same ones.

Every contestant runs in a process of its own. A trial is `benchmarks.support.empty`: the trainer,
its checkpoints and its reports are real, the model has four weights. Plain Ray runs the very same
trainable as its documentation shows it: `tune.Tuner` with ASHA, two checkpoints kept.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.support.report import table, write

EXPERIMENT = """
  t{number}:
    model: {{name: empty, imports: [benchmarks.support.empty]}}
    data: {{name: empty}}
    training: {{num_epochs: {epochs}, use_tensorboard: false}}
    scheduler: {{type: none}}
    early_stopping: {{patience: 0}}
"""
MEBIBYTE = 2**20
LOAD = """
import sys, time
started = time.perf_counter()
from raytune_ocr.tune import load_results
rows = len(load_results(sys.argv[1]))
print(rows, time.perf_counter() - started)
"""


def write_space(path: Path, trials: int, epochs: int) -> None:
    """Experiments that differ in nothing."""
    experiments = (EXPERIMENT.format(number=n, epochs=epochs) for n in range(trials))
    path.write_text("experiments:" + "".join(experiments), encoding="utf-8")


def memory() -> float:
    """The most that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ours(space: Path, output: Path, address: str | None = None) -> dict[str, Any]:
    """`HyperparameterTuner`, as the command line calls it."""
    from raytune_ocr.results.journal import Journal
    from raytune_ocr.tune import HyperparameterTuner

    tuner = HyperparameterTuner(
        str(space),
        output_dir=output,
        results_file=output.parent / "results.json",
        quiet=True,
        grace_period=1,
        address=address,
    )
    before = memory()
    with timed(tuner.runner, "_fit") as seconds, timed(Journal, "append") as appending:
        tuner.run_experiments()
    finished = [r for r in tuner.records.values() if r.status == "completed"]
    assert len(finished) == len(tuner.records), "not every trial completed"
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD, str(output)], capture_output=True, text=True, check=True
    )
    rows, load_seconds = loaded.stdout.split()
    assert int(rows) == len(finished)
    return {
        "fit_seconds": sum(seconds),
        "driver_mb": memory(),
        "driver_mb_before": before,
        "load_seconds": float(load_seconds),
        "append_ms": 1000 * sum(appending) / len(appending),
        "journal_mb": tuner.run.journal.path.stat().st_size / MEBIBYTE,
        "results_mb": (output / "results.json").stat().st_size / MEBIBYTE,
    }


@contextmanager
def timed(owner: Any, name: str) -> Any:
    """A list of the seconds that every call of a method of `owner` takes."""
    original, seconds = getattr(owner, name), []

    def call(*arguments: Any, **keywords: Any) -> Any:
        started = time.perf_counter()
        try:
            return original(*arguments, **keywords)
        finally:
            seconds.append(time.perf_counter() - started)

    setattr(owner, name, call)
    try:
        yield seconds
    finally:
        setattr(owner, name, original)


def named_trial(config: dict[str, Any], configs: dict[str, Any], data: dict[str, Any]) -> None:
    """Our trainable, its config looked up by name."""
    from raytune_ocr.tune.execution.ray_executor.trainable import trial

    whole = {"config": configs[config["experiment_name"]], "timeout": None, "keeps_states": False}
    whole["request"] = {"cpu": 1.0}
    trial({**config, **whole}, data=data)


def plain_ray(space: Path, output: Path, reuse_actors: bool) -> dict[str, Any]:
    """`tune.Tuner` as its documentation shows it, with the same trainable."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    from benchmarks.support.empty import EmptyDataset
    from raytune_ocr.config.training_config import data_key
    from raytune_ocr.tune.space.search_space import load_space

    configs = load_space(space, output_dir=str(output)).configs
    data = {data_key(config): EmptyDataset() for config in configs.values()}
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    before = memory()
    tuner = tune.Tuner(
        tune.with_parameters(
            named_trial, configs={name: c.to_dict() for name, c in configs.items()}, data=data
        ),
        param_space={"experiment_name": tune.grid_search(list(configs)), "threads": 1},
        tune_config=tune.TuneConfig(
            metric="best_score",
            mode="max",
            scheduler=ASHAScheduler(max_t=1000, grace_period=1),
            reuse_actors=reuse_actors,
            trial_dirname_creator=lambda trial: trial.config["experiment_name"],
        ),
        run_config=tune.RunConfig(
            name=output.name,
            storage_path=str(output.parent),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
        ),
    )
    started = time.perf_counter()
    grid = tuner.fit()
    fit_seconds = time.perf_counter() - started
    assert not grid.errors
    started = time.perf_counter()
    loaded = tune.ExperimentAnalysis(str(output)).dataframe()
    load_seconds = time.perf_counter() - started
    assert len(loaded) == len(configs)
    return {
        "fit_seconds": fit_seconds,
        "driver_mb": memory(),
        "driver_mb_before": before,
        "load_seconds": load_seconds,
    }


CONTESTANTS: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "raytune_ocr": ours,
    "plain Ray, actors reused": lambda space, output: plain_ray(space, output, True),
    "plain Ray": lambda space, output: plain_ray(space, output, False),
}


def measure(contestant: str, trials: int, epochs: int) -> dict[str, Any]:
    """One contestant in a process of its own."""
    folder = Path(tempfile.mkdtemp(prefix="ro"))
    # Each sets Ray Tune up itself: without its loggers, as a run of ours leaves the environment
    # of its process, plain Ray would keep no results to load.
    inherited = {name: v for name, v in os.environ.items() if not name.startswith("TUNE_")}
    try:
        write_space(folder / "space.yaml", trials, epochs)
        subprocess.run(
            [sys.executable, "-m", "benchmarks.overhead", "--run", contestant, str(folder)],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**inherited, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"},
        )
        figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "who": contestant,
        "trials": trials,
        "trials a second": trials / figures["fit_seconds"],
        **figures,
    }


def growth(rows: list[dict[str, Any]]) -> dict[str, float]:
    """What a trial more costs, from the smallest and the largest run of ours."""
    mine = sorted((r for r in rows if r["who"] == "raytune_ocr"), key=lambda r: r["trials"])
    first, last = mine[0], mine[-1]
    more = max(1, last["trials"] - first["trials"])
    return {
        f"{name} a trial": (last[name] - first[name]) / more
        for name in ("fit_seconds", "driver_mb", "load_seconds", "journal_mb", "results_mb")
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--plain", type=int, default=200, help="trials of plain Ray, actors reused")
    parser.add_argument("--fresh", type=int, default=24, help="trials of plain Ray, new actors")
    parser.add_argument("--run", nargs=2, metavar=("WHO", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        who, folder = arguments.run[0], Path(arguments.run[1])
        figures = CONTESTANTS[who](folder / "space.yaml", folder / "out")
        (folder / "figures.json").write_text(json.dumps(figures), encoding="utf-8")
        return
    work = [("raytune_ocr", trials) for trials in arguments.trials]
    work += [("plain Ray, actors reused", arguments.plain), ("plain Ray", arguments.fresh)]
    rows = [measure(who, trials, arguments.epochs) for who, trials in work if trials]
    print(table(rows))
    grows = growth(rows)
    print(table([grows]))
    print(write("overhead", {"epochs": arguments.epochs, "rows": rows, "growth": grows}))


if __name__ == "__main__":
    main()
