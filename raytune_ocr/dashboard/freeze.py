"""Freeze the page of runs into one file."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raytune_ocr.dashboard.assets import frozen_page
from raytune_ocr.dashboard.importances import importances
from raytune_ocr.dashboard.reader import reader_errors
from raytune_ocr.dashboard.snapshot import RunSnapshot, snapshots
from raytune_ocr.errors import RaytuneOCRError
from raytune_ocr.files import make_folder, replacing

TIMES = 4  # figures of an epoch besides its metrics
MOST_CURVES = 1_000_000  # figures in the file; beyond it only curves of the monitored metric


def freeze(
    sources: Sequence[str | os.PathLike[str]], path: Path, data: str | None = None, refresh: int = 0
) -> dict[str, Any]:
    """Write the page of runs as one file, which needs neither a server nor a network.

    Args:
        sources: output folders or results JSON files.
        data: images that the best reader reads (default: the config's).
        refresh: seconds after which a browser loads the file again; 0: never.

    Returns:
        The data of the page, by `frozen_data`.

    Raises:
        DataNotFoundError, DataLoaderError: a source has no results.
    """
    runs = snapshots(sources)
    content = frozen_data(runs, data)
    title = ", ".join(run.name for run in runs)
    make_folder(path.parent)
    with replacing(path) as aside:
        aside.write_text(frozen_page(content, title, refresh), encoding="utf-8")
    return content


def frozen_data(runs: Sequence[RunSnapshot], data: str | None) -> dict[str, Any]:
    """Return what the page asks of a server, by run."""
    documents = [run.document() for run in runs]
    return {
        "time": time.strftime("%Y-%m-%d %H:%M"),
        "runs": documents,
        "curves": [_curves(run, each) for run, each in zip(runs, documents, strict=True)],
        "importance": [
            importances(run.source, each) for run, each in zip(runs, documents, strict=True)
        ],
        "reader": [_reader(run, data) for run in runs],
        "logs": [_logs(run) for run in runs],
    }


def _curves(run: RunSnapshot, document: dict[str, Any]) -> dict[str, Any]:
    """Return `values` by metric and trial, of all metrics unless that is too much, and `times`.

    The times, once for all metrics, are the other entries of a trial's curve.
    """
    metrics = [c["id"].partition(".")[2] for c in document["columns"] if c["kind"] == "metric"]
    epochs = sum(len(trial.epochs) for trial in run.replay.trials.values())
    fits = epochs * (len(metrics) + TIMES) <= MOST_CURVES
    values: dict[str, dict[str, Any]] = {}
    times: dict[str, Any] = {}
    for metric in metrics if fits else [document["metric"]]:
        times = run.curves(metric)
        values[metric] = {name: curve.pop("value") for name, curve in times.items()}
    return {"times": times, "values": values}


def _reader(run: RunSnapshot, data: str | None) -> dict[str, Any]:
    try:
        return reader_errors(run.source, data)
    except (RaytuneOCRError, OSError) as error:
        return {"error": str(error)}


def _logs(run: RunSnapshot) -> dict[str, str]:
    failed = (name for name, trial in run.replay.trials.items() if trial.error_message)
    return {name: log for name in failed if (log := run.log(name))}
