"""What others are told of a run: MLflow, Weights & Biases, TensorBoard of trials that were stopped.

Trackers hear of everything through Ray's own callbacks. A trial writes its own TensorBoard files;
one that Ray ends has no time for a last picture, so the driver adds it.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from raytune_ocr.errors import ConfigurationError, unknown_name
from raytune_ocr.tune.cluster.head_watchdog import problem

logger = logging.getLogger(__name__)

TRACKERS = ("mlflow", "wandb")
MLFLOW_URI = "MLFLOW_TRACKING_URI"
MLFLOW_STORE = "mlflow.db"  # in the output folder, unless MLFLOW_TRACKING_URI says another
MLFLOW_FILES = "mlartifacts"  # beside that


def check_trackers(names: Sequence[str]) -> None:
    """Whether each can be written to.

    Raises:
        ConfigurationError: an unknown one, or its package is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise ConfigurationError(f"--track: {unknown_name('tracker', name, TRACKERS)}")
        if find_spec(name) is None:
            raise ConfigurationError(
                f"--track {name}: needs that package: pip install 'raytune-ocr[track]'"
            )


def trackers(names: Sequence[str], folder: Path, run: str) -> list[Any]:
    """Ray's callbacks for the named trackers.

    Args:
        names: of `TRACKERS`.
        folder: of the run; names experiment and project.
        run: its id, by which a trial's own run is found again.
    """
    if not names:
        return []  # those of both import their packages, which takes seconds
    from raytune_ocr.tune.tracking.mlflow import MLflow
    from raytune_ocr.tune.tracking.wandb import WeightsAndBiases

    made: list[Any] = []
    if "mlflow" in names:
        uri = os.environ.get(MLFLOW_URI)
        store = uri or f"sqlite:///{folder / MLFLOW_STORE}"
        files = None if uri else folder / MLFLOW_FILES
        made.append(MLflow(store, experiment_name=folder.name, run=run, artifacts=files))
    if "wandb" in names:
        project = os.environ.get("WANDB_PROJECT") or folder.name
        mode = os.environ.get("WANDB_MODE")  # of this process: a cluster's others do not have it
        made.append(WeightsAndBiases(project, run=run, dir=str(folder), mode=mode))
    return made


def reach_trackers(names: Sequence[str], folder: Path, run: str) -> None:
    """Whether each answers, before anything begins; the arguments are those of `trackers`.

    Raises:
        ConfigurationError: one does not, or wants a key.
    """
    for name in names:
        try:
            if name == "mlflow" and (why := _unreachable(os.environ.get(MLFLOW_URI, ""))):
                raise ConnectionError(f"{os.environ[MLFLOW_URI]}: {why}")
            for tracker in trackers([name], folder, run):
                tracker.setup()
        except Exception as error:  # whatever a tracker's own package raises
            raise ConfigurationError(f"--track {name}: cannot be told of a run: {error}") from error


def send_winner(
    names: Sequence[str], folder: Path, run: str, winner: Mapping[str, Any] | None
) -> None:
    """Add the winner's model and the report to its run in each tracker.

    What fails is a warning: the run itself is whole.

    Args:
        winner: the best result of the results JSON.
    """
    if not (names and winner):
        return
    from raytune_ocr.report.report_page import write_report

    try:
        with tempfile.TemporaryDirectory(prefix="raytune_ocr_") as scratch:
            files = {"report": write_report([folder], Path(scratch))}
            if winner["checkpoint"]:
                files["model"] = Path(winner["checkpoint"])
            for tracker in trackers(names, folder, run):
                tracker.setup()
                tracker.log_files(winner["experiment_name"], files)
    except Exception as error:  # whatever a tracker's own package raises
        logger.warning("--track: the winner's model and report were not added: %s", error)


def _unreachable(uri: str) -> str:
    """Why a server cannot be reached, which MLflow would find out in minutes; "" if it can be."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or getproxies():
        return ""
    return problem(f"{parts.hostname}:{parts.port or {'http': 80, 'https': 443}[parts.scheme]}")
