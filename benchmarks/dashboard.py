"""How fluid the dashboard is with 2,000 trials of 50 epochs: first paint and filters in Chromium.

    python -m benchmarks.dashboard --output benchmarks/results/dashboard.json

Needs Chromium on the PATH and playwright.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.dashboard.serving import Serving
from raytune_ocr.dashboard.snapshot import snapshots
from raytune_ocr.results.decision import CONTINUE, STOP, Decision
from raytune_ocr.results.document import environment
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.record import TrialRecord
from tests.fixtures.browser import chromium_page, until

TRIALS, EPOCHS = 2000, 50
REPEATS = 5
FILTERS = ("lr<0.01", "width=32 lr>0.001", "trial_19", "kind=b", "")
FILTER = """async (text) => {
    const field = document.querySelector('input[type=search]');
    const began = performance.now();
    field.value = text;
    field.dispatchEvent(new Event('input'));
    await new Promise(requestAnimationFrame);
    const table = performance.now() - began;
    const drawn = () => performance.getEntriesByName('drawn').at(-1)?.startTime ?? 0;
    while (drawn() < began) await new Promise(done => setTimeout(done, 5));
    return {table, charts: drawn() - began};
}"""
SCROLL = """async () => {
    const grid = document.querySelector('.grid');
    const frames = [];
    for (let step = 0; step < 30; step++) {
        const began = performance.now();
        grid.scrollTop += 700;
        await new Promise(requestAnimationFrame);
        await new Promise(done => setTimeout(done));
        frames.push(performance.now() - began);
    }
    grid.scrollTop = 0;
    return Math.max(...frames);
}"""


def synthetic_run(folder: Path, trials: int = TRIALS, epochs: int = EPOCHS) -> Path:
    """Write the journal of a run whose trials were never trained."""
    rng = random.Random(0)
    records, decisions = {}, []
    for number in range(trials):
        record = synthetic_trial(folder, f"trial_{number:04d}", epochs, rng)
        decisions.append(Decision("asha", record.name, epochs // 5, CONTINUE))
        if number % 3 == 0:
            decisions.append(Decision("asha", record.name, epochs // 2, STOP))
        records[record.name] = record
    journal = Journal(folder)
    journal.decisions = decisions
    journal.rewrite(records, {"id": "synthetic", "timestamp": "20260101_000000"})
    journal.close()
    return folder


def synthetic_trial(folder: Path, name: str, epochs: int, rng: random.Random) -> TrialRecord:
    """Return a trial with a curve that its settings decide."""
    parameters = {
        "lr": 10 ** rng.uniform(-4, -1),
        "width": rng.choice([8, 16, 32, 64]),
        "dropout": rng.uniform(0, 0.5),
        "kind": rng.choice("abc"),
        "depth": rng.randint(1, 8),
    }
    config = TrainingConfig(
        experiment_name=name,
        output_dir=str(folder),
        trainable="my_train:finetune",
        parameters=parameters,
        early_stopping_monitor="val_mae",
        num_epochs=epochs,
    )
    record = TrialRecord(config, search="search", sampled={}, status="completed")
    speed = 0.3 * math.exp(-((math.log10(parameters["lr"]) + 2.3) ** 2))
    for epoch in range(1, epochs + 1):
        value = math.exp(-speed * epoch) + parameters["dropout"] / 5 + rng.gauss(0, 0.01)
        row = {"epoch": epoch, "val_mae": value, "train_loss": value * 0.8, "seconds": 1.0}
        row |= {"cpus": 1.0, "gpus": 0.0, "memory_mb": 400.0, "ended_at": 1.7e9 + epoch}
        record.add({**row, "reported": ("val_mae", "train_loss")})
    return record


def measure(url: str) -> dict[str, Any]:
    """Return medians over fresh pages, in milliseconds."""
    paints, filters, charts, scrolls = [], [], [], []
    for _ in range(REPEATS):
        with chromium_page() as page:
            page.goto(url)
            until(page, "performance.getEntriesByName('first-data').length")
            mark = "performance.getEntriesByName('first-data')[0].startTime"
            paints.append(page.evaluate(mark))
            page.wait_for_timeout(1500)
            page.evaluate("document.querySelector('#section-trials').scrollIntoView()")
            found = [page.evaluate(FILTER, text) for text in FILTERS]
            filters.append(max(each["table"] for each in found))
            charts.append(max(each["charts"] for each in found))
            scrolls.append(page.evaluate(SCROLL))
    return {
        "first_paint_ms": round(statistics.median(paints)),
        "slowest_filter_ms": round(statistics.median(filters)),
        "slowest_filter_with_charts_ms": round(statistics.median(charts)),
        "slowest_scroll_ms": round(statistics.median(scrolls)),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        synthetic_run(Path(folder), arguments.trials, arguments.epochs)
        began = time.perf_counter()
        runs = snapshots([folder])
        read = time.perf_counter() - began
        with Serving(runs, "127.0.0.1") as serving:
            found = measure(serving.url)
    figures = {
        "trials": arguments.trials,
        "epochs": arguments.epochs,
        "journal_read_s": round(read, 2),
        **found,
        "repeats": REPEATS,
        "environment": environment(),
    }
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
