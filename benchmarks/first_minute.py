"""How long the first commands of a newcomer take, here and at another revision, in turns.

    python -m benchmarks.first_minute --against 05843ab                      # hours: as shipped
    python -m benchmarks.first_minute --against 05843ab --images 500 --epochs 1 --pairs 2

Each command is a process of its own, measured from its start. `default job` and `quick` run until
their end and say what accuracy their best trial reached on the validation split; `first batch` is
the time until a trial has trained its first batch, with the data there. `benchmarks.tuning` has the
time of eight presets over that of the winner alone, `benchmarks.overhead` that of empty trials.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.support.checkouts import ROOT, checkout, environment_of
from benchmarks.support.report import paired_ratio, table, write

HERE = "here"
FIRST_BATCH = "first_batch"  # of benchmarks/support


class Result(NamedTuple):
    """Seconds of a command, and the best accuracies that it reached."""

    seconds: float
    char: float | None = None
    seq: float | None = None


Work = Callable[[Path, Path], Result]
"""Runs a command with the package in the first folder, in the second one, which is empty."""


def run(source: Path, folder: Path, *words: str, **variables: str) -> float:
    """Run a command line of the package; return when it began."""
    environment = {**environment_of(source), **variables}
    environment["PYTHONPATH"] += f":{Path(__file__).parent / 'support'}"
    begun = time.time()
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{source}: {' '.join(words)} failed:\n{done.stdout}{done.stderr}")
    return begun


def settings(*assignments: str) -> list[str]:
    """The options that set fields of every trial."""
    return [word for assignment in assignments for word in ("--set", assignment)]


def tuned(words: Sequence[str], source: Path, folder: Path) -> Result:
    """A run of `tune` to its end."""
    begun = run(source, folder, "raytune_ocr.tune", "--results-file", "results.json", *words)
    seconds = time.time() - begun
    best = json.loads((folder / "results.json").read_text(encoding="utf-8"))["best_result"]
    return Result(seconds, best["best_val_char_accuracy"], best["best_val_seq_accuracy"])


def first_batch(words: Sequence[str], source: Path, folder: Path) -> Result:
    """A run of any trainer, until one of its processes has trained a batch."""
    notes = folder / "notes"
    notes.mkdir()
    begun = run(source, folder, *words, "--import", FIRST_BATCH, FIRST_BATCH=str(notes))
    return Result(min(float(note.read_text()) for note in notes.iterdir()) - begun)


def commands(data: Path, images: int | None, epochs: int | None) -> dict[str, Work]:
    """What is measured, by name."""
    fewer = settings(f"num_epochs={epochs}") if epochs else []
    composed = settings(f"dataset_options={{composed: {images}, variety: 0}}") if images else []
    shared = ["--data", str(data)]
    one_epoch = [*shared, *settings("num_epochs=1")]
    tune = ["raytune_ocr.tune", "--config", "quick", *one_epoch]
    train = ["raytune_ocr.train", "--model", "ctc_small", "--base-dir", "runs", *one_epoch]
    return {
        "default job": partial(tuned, [*shared, *fewer]),
        "quick": partial(tuned, ["--config", "quick", *shared, *fewer, *composed]),
        "first batch, tune": partial(first_batch, tune),
        "first batch, train": partial(first_batch, train),
    }


def measure(
    name: str, work: Work, sources: Mapping[str, Path], pairs: int, place: Path
) -> dict[str, Any]:
    """A row: medians here, and how many times the seconds of the other revision that is."""
    found: dict[str, list[Result]] = {source: [] for source in sources}
    for number in range(pairs):
        order = list(sources)[:: 1 if number % 2 else -1]
        for source in order:
            folder = Path(tempfile.mkdtemp(dir=place))
            found[source].append(work(sources[source], folder))
    row: dict[str, Any] = {"command": name}
    for source, results in found.items():
        row[f"{source}, s"] = statistics.median(each.seconds for each in results)
        for key in ("char", "seq"):
            values = [getattr(each, key) for each in results]
            known = [value for value in values if value is not None]
            row[f"{source}, {key}"] = statistics.median(known) if known else None
    here, *others = ([each.seconds for each in results] for results in found.values())
    for other, seconds in zip(list(sources)[1:], others, strict=True):
        row[f"share of {other}"] = paired_ratio(here, seconds)
    return row


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.first_minute",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--against", metavar="REV", help="a git revision to take turns with")
    parser.add_argument(
        "--pairs", type=int, default=5, help="runs of each command and revision (default 5)"
    )
    parser.add_argument("--images", type=int, help="images of the data (default: as shipped)")
    parser.add_argument("--epochs", type=int, help="epochs of the two jobs (default: as shipped)")
    parser.add_argument("--only", nargs="+", metavar="COMMAND", help="these alone, by their names")
    parser.add_argument("--no-write", action="store_true", help="write no results file")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    arguments = build_parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="fm") as temporary, ExitStack() as until_the_end:
        place, sources = Path(temporary), {HERE: ROOT}
        if arguments.against:
            sources[arguments.against] = until_the_end.enter_context(checkout(arguments.against))
        number = ["--num-samples", str(arguments.images)] if arguments.images else []
        run(ROOT, place, "raytune_ocr.generate", "--output-dir", "data", *number)
        works = commands(place / "data", arguments.images, arguments.epochs)
        names = arguments.only or list(works)
        rows = [measure(name, works[name], sources, arguments.pairs, place) for name in names]
    print(table(rows))
    if not arguments.no_write:
        content = {"images": arguments.images, "epochs": arguments.epochs, "rows": rows}
        print(write("first_minute", content))


if __name__ == "__main__":
    main()
