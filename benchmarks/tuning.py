"""How long eight presets take: four ways to tune them, and to train only the one that wins.

    python -m benchmarks.tuning                              # whole: hours
    python -m benchmarks.tuning --epochs 6 --samples 8000    # 35 minutes, two cores

The presets of `search_spaces/full.yaml`, the same data, seeds, epochs and trainer for all; each
way is a process of its own, start-up and reading the data included (`tuners.py` has them).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.support.report import paired_ratio, table, write
from benchmarks.tuners import METRIC, TUNERS, Job
from raytune_ocr.data import generate_dataset
from raytune_ocr.tune import load_space

OURS, SEQUENTIAL, ORACLE = "this project", "one after another", "the winner alone"
GOAL = 0.95
EPOCHS, GRACE = 60, 6 / 60  # the full space's own, and its grace period as a share of them


def presets() -> list[str]:
    """Names of the full space's experiments that are one trial each."""
    experiments = load_space("full").experiments
    return [name for name, one in experiments.items() if not one.is_search]


def run(name: str, job: Job) -> dict[str, Any]:
    """One way, in a process of its own: seconds, epochs, accuracies.

    Raises:
        RuntimeError: when it failed; says what it said.
    """
    Path(job.folder).mkdir(parents=True)
    job.save()
    load = os.getloadavg()[0]
    started = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.tuners", name, job.folder],
        capture_output=True,
        text=True,
    )
    seconds = time.time() - started
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    notes = [json.loads(line) for line in job.notes.read_text(encoding="utf-8").splitlines()]
    best = max(notes, key=lambda note: note[METRIC])
    reached = [note["time"] for note in notes if note[METRIC] >= GOAL]
    return {
        "tuner": name,
        "seconds": seconds,
        "epochs": len(notes),
        f"best {METRIC}": best[METRIC],
        "winner": best["trial"],
        f"seconds to {GOAL}": min(reached) - started if reached else None,
        "load before": load,
    }


def all_ways(job: Job, names: Sequence[str], rounds: int) -> Iterator[dict[str, Any]]:
    """A row for each way and round; each round begins with another one.

    The oracle comes after what it needs to know: the winner of this project in that round.
    """
    for number in range(rounds):
        first = number % len(names)
        winner = ""
        for name in [*names[first:], *names[:first], ORACLE]:
            here = dataclasses.replace(job, folder=f"{job.folder}/{number} {name}")
            if name == ORACLE:
                if not winner:
                    continue
                here = dataclasses.replace(here, experiments=(winner,))
            row = {"round": number + 1, **run(name, here)}
            winner = row["winner"] if name == OURS else winner
            yield row


def ratios(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each way over this project, the rounds paired; and this project over the oracle."""
    seconds: dict[str, list[float]] = {}
    best: dict[str, float] = {}
    for row in rows:
        seconds.setdefault(row["tuner"], []).append(row["seconds"])
        best[row["tuner"]] = max(best.get(row["tuner"], 0.0), row[f"best {METRIC}"])
    if OURS not in seconds:
        return []
    return [
        {
            "tuner": name,
            "its time over ours": _paired(theirs, seconds[OURS]),
            "ours over its": _paired(seconds[OURS], theirs),
            "our accuracy over its, points": 100 * (best[OURS] - best[name]),
        }
        for name, theirs in seconds.items()
        if name != OURS
    ]


def _paired(first: Sequence[float], second: Sequence[float]) -> float:
    """Of the rounds that both have finished."""
    rounds = min(len(first), len(second))
    return paired_ratio(first[:rounds], second[:rounds])


def available(names: Sequence[str]) -> list[str]:
    """Without what is not installed, which is named."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        print(f"Optuna is left out: {error}; pip install '.[bench]'")
        return [name for name in names if "Optuna" not in name]
    return list(names)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tuning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ways = [name for name in TUNERS if name != ORACLE]
    parser.add_argument(
        "--epochs", type=int, default=EPOCHS, help=f"of every preset (default {EPOCHS})"
    )
    parser.add_argument(
        "--samples", type=int, default=16000, help="composed an epoch (default 16000)"
    )
    parser.add_argument("--rounds", type=int, default=1, help="(default 1)")
    parser.add_argument("--grace", type=int, help="epochs before a stop (default: a tenth)")
    parser.add_argument("--experiments", nargs="+", metavar="NAME", help="(default: all presets)")
    parser.add_argument("--ways", nargs="+", choices=ways, default=ways, help="(default: all)")
    parser.add_argument("--no-write", action="store_true", help="leave results/tuning.json alone")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Make the data, run all, print, write."""
    arguments = build_parser().parse_args(argv)
    grace = arguments.grace or max(1, round(GRACE * arguments.epochs))
    sizes = {"train": 1, "val": min(1000, max(16, arguments.samples // 8)), "test": 1}
    with tempfile.TemporaryDirectory() as folder:
        data = generate_dataset(Path(folder, "data"), sizes=sizes)
        job = Job(
            folder=folder,
            experiments=tuple(arguments.experiments or presets()),
            data=str(data),
            samples=arguments.samples,
            epochs=arguments.epochs,
            grace=grace,
            cores=os.cpu_count() or 1,
        )
        about = {"epochs": job.epochs, "samples": job.samples, "validation": sizes["val"]}
        about["grace"] = grace
        rows: list[dict[str, Any]] = []
        for row in all_ways(job, available(arguments.ways), arguments.rounds):
            rows.append(row)
            print(row, flush=True)
            content = {**about, "experiments": job.experiments, "ratios": ratios(rows)}
            if not arguments.no_write:  # after each: a long run may be cut short
                write("tuning", {**content, "rows": rows})
    print("\n".join(table(part) + "\n" for part in (ratios(rows), rows) if part))


if __name__ == "__main__":
    main()
