"""How a run grows with its files, with nodes, data and model, measured on this machine.

`benchmarks.overhead` measures how it grows with trials. Nodes are real Ray nodes (a raylet each,
on this machine), a CPU each; trials are `benchmarks.support.empty`. Each row runs in a process of
its own. What was measured is fitted by straight lines, which are followed to `FAR`: an
extrapolation.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.overhead import MEBIBYTE, memory, ours, write_space
from benchmarks.support.report import RESULTS, table, write
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.results.aggregate import Aggregator, trials_table
from raytune_ocr.results.document import results_document, write_json
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.results.tables import write_tables
from raytune_ocr.tune import load_results

HEAD = {"num_cpus": 0, "include_dashboard": False}
FAR = {"files": 100_000, "nodes": 1_000, "dataset": 10_000_000}  # trials, nodes, images
TARGETS = {"character_accuracy": 0.9, "sequence_accuracy": 0.8, "convergence_epochs": 5}
FIGURES = (
    *("train_loss", "train_char_accuracy", "val_loss", "val_char_accuracy", "val_seq_accuracy"),
    *("val_cer", "learning_rate", "seconds", "images_per_second", "memory_mb", "cpu_percent"),
)


def processes(words: str) -> float:
    """Unshared memory in MiB of the descendants whose command line has `words` in it."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        try:
            if words in " ".join(process.cmdline()):
                total += process.memory_full_info().uss
        except psutil.Error:
            continue
    return total / MEBIBYTE


def nodes(count: int, folder: Path) -> dict[str, Any]:
    """Empty trials on a cluster of `count` nodes."""
    from ray.cluster_utils import Cluster

    started = time.perf_counter()
    cluster = Cluster(initialize_head=True, head_node_args=HEAD)
    head = processes("")
    for _ in range(count):
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    start_seconds = time.perf_counter() - started
    alone = processes("")
    figures = ours(folder / "space.yaml", folder / "out", cluster.address)
    gcs = processes("gcs_server")
    cluster.shutdown()
    return {
        "start_seconds": start_seconds,
        "node_mb": (alone - head) / count,
        "gcs_mb": gcs,
        "fit_seconds": figures["fit_seconds"],
        "driver_mb": figures["driver_mb"],
    }


def append_often(journal: Journal, record: TrialRecord) -> None:
    """A thousand reports."""
    for _ in range(1000):
        record.unsaved.append(record.epochs[-1])
        journal.append(record)


def aggregation(records: dict[str, TrialRecord]) -> dict[str, float]:
    """CPU seconds of the trials table: from nothing, and after one more epoch of one trial."""
    trials, running = list(records.values()), Aggregator(records, TARGETS)
    last = trials[-1]
    running.table()

    def one_more_epoch() -> None:
        last.add({**last.epochs[-1], "epoch": len(last.epochs) + 1})
        running.table()

    return {
        "aggregate_cpu_seconds": cpu_seconds(lambda: trials_table(trials, TARGETS)),
        "aggregate_again_cpu_seconds": cpu_seconds(one_more_epoch),
    }


def cpu_seconds(work: Callable[[], object], times: int = 5) -> float:
    """The least CPU time that `work` takes of several tries."""
    found = []
    for _ in range(times):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def files(trials: int, folder: Path) -> dict[str, Any]:
    """What the driver's own files cost with so many finished trials of ten epochs."""
    before = memory()
    records = {}
    for number in range(trials):
        record = TrialRecord(TrainingConfig(experiment_name=f"t{number}"), status="completed")
        for epoch in range(1, 11):
            figures = dict.fromkeys(FIGURES, 0.123456789 + epoch)
            record.add({"epoch": epoch, **figures})
        records[record.name] = record
    found = {"records_mb": memory() - before}
    journal, last = Journal(folder), list(records.values())[-1]
    work = {
        "rewrite_seconds": lambda: journal.rewrite(records, {}),
        "append_ms": lambda: append_often(journal, last),
        "json_seconds": lambda: write_json(
            folder / "results.json", results_document(list(records.values()), TARGETS, "")
        ),
        "tables_seconds": lambda: write_tables(folder, list(records.values()), {}),
        "load_seconds": lambda: load_results(folder / "results.json"),
        "resume_seconds": lambda: Journal(folder).read(),
    }
    for name, do in work.items():
        started = time.perf_counter()
        do()
        found[name] = time.perf_counter() - started  # of a thousand reports: milliseconds of one
    found |= aggregation(records)
    found["journal_mb"] = (folder / "run_state.jsonl").stat().st_size / MEBIBYTE
    found["json_mb"] = (folder / "results.json").stat().st_size / MEBIBYTE
    return found


def dataset(images: int, folder: Path) -> dict[str, Any]:
    """What a packed set of so many 128 x 64 images costs in Ray's object store."""
    import ray

    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    packed = np.zeros((images, 64, 128), np.uint8)
    before = memory()
    started = time.perf_counter()
    reference = ray.put(packed)
    put_seconds = time.perf_counter() - started

    @ray.remote
    def take(array: np.ndarray) -> float:
        inside = time.perf_counter()
        array.sum()
        return time.perf_counter() - inside

    started = time.perf_counter()
    ray.get(take.remote(reference))
    return {
        "set_mb": packed.nbytes / MEBIBYTE,
        "put_seconds": put_seconds,
        "first_use_seconds": time.perf_counter() - started,
        "driver_mb_more": memory() - before,
    }


def model(name: str, folder: Path) -> dict[str, Any]:
    """What a state of a model costs: bytes, writing and reading it with its checksums."""
    import torch

    from raytune_ocr.models import create_model
    from raytune_ocr.training.checkpoints.checkpoint import read_state, write_state

    net = create_model(name)
    optimizer = torch.optim.AdamW(net.parameters())
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    state = {"model": net.state_dict(), "optimizer": optimizer.state_dict()}
    path = folder / "state.pt"
    started = time.perf_counter()
    write_state(path, state)
    write_seconds = time.perf_counter() - started
    started = time.perf_counter()
    read_state(path)
    return {
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "state_mb": path.stat().st_size / MEBIBYTE,
        "write_seconds": write_seconds,
        "read_seconds": time.perf_counter() - started,
    }


MEASURES = {
    "files": lambda size, folder: files(int(size), folder),
    "nodes": lambda size, folder: nodes(int(size), folder),
    "dataset": lambda size, folder: dataset(int(size), folder),
    "model": model,
}


def measure(kind: str, size: str, trials: int) -> dict[str, Any]:
    """One row, in a process of its own."""
    folder = Path(tempfile.mkdtemp(prefix="rs"))
    try:
        write_space(folder / "space.yaml", trials, epochs=3)
        subprocess.run(
            [sys.executable, "-m", "benchmarks.scaling", "--run", kind, size, str(folder)],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"},
        )
        figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
        return {kind: size, **figures}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def lines(kind: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For every figure of a kind: what one more costs, by least squares, and what `FAR` would."""
    sizes = [float(row[kind]) for row in rows]
    found = []
    for name in rows[0]:
        if name != kind and len(set(sizes)) > 1:
            values = [row[name] for row in rows]
            grows = values[-1] > values[0]  # else it is noise about a constant
            slope, offset = np.polyfit(sizes, values, 1) if grows else (0.0, np.mean(values))
            far = offset + slope * FAR[kind]
            found.append({"figure": name, "one more": slope, f"at {FAR[kind]:,}": far})
    return found


def earlier() -> dict[str, Any]:
    """What was measured before: kinds that are left out this time stay as they are."""
    path = RESULTS / "scaling.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {name: value for name, value in content.items() if name != "machine"}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", nargs="*", default=["200", "2000", "20000"], metavar="TRIALS")
    parser.add_argument("--nodes", nargs="*", default=["1", "2", "4", "8"])
    parser.add_argument("--images", nargs="*", default=["10000", "100000"])
    parser.add_argument("--models", nargs="*", default=["ctc_small", "ctc_medium", "large"])
    parser.add_argument("--trials", type=int, default=100, help="on every number of nodes")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        kind, size, folder = arguments.run
        figures = MEASURES[kind](size, Path(folder))
        (Path(folder) / "figures.json").write_text(json.dumps(figures), encoding="utf-8")
        return
    found = earlier() | {"trials": arguments.trials}
    for kind, sizes in (
        ("files", arguments.files),
        ("nodes", arguments.nodes),
        ("dataset", arguments.images),
        ("model", arguments.models),
    ):
        if sizes:
            found[kind] = [measure(kind, size, arguments.trials) for size in sizes]
            print(table(found[kind]), "\n")
            if kind in FAR and (fitted := lines(kind, found[kind])):
                found[f"{kind} fitted"] = fitted
                print(table(fitted), "\n")
    print(write("scaling", found))


if __name__ == "__main__":
    main()
