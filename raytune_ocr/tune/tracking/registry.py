"""Create and check the trackers of a run: MLflow and Weights & Biases.

Trackers use Ray's own callbacks. A trial writes its TensorBoard files itself; if Ray stops it, the
driver adds the last images.
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
MLFLOW_STORE = "mlflow.db"  # in the output folder, unless MLFLOW_TRACKING_URI is set
MLFLOW_FILES = "mlartifacts"  # beside it


def check_trackers(names: Sequence[str]) -> None:
    """Check that each tracker is known and its package is installed.

    Raises:
        ConfigurationError: an unknown one, or its package is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise ConfigurationError(f"--track: {unknown_name('tracker', name, TRACKERS)}")
        if find_spec(name) is None:
            raise ConfigurationError(
                f"--track {name}: the package is not installed: pip install 'raytune-ocr[track]'"
            )


def trackers(names: Sequence[str], folder: Path, run: str) -> list[Any]:
    """Return Ray's callbacks for the named trackers.

    Args:
        names: of `TRACKERS`.
        folder: of the run; names experiment and project.
        run: its id, by which a resumed trial finds its tracked run.
    """
    if not names:
        return []  # importing the callbacks takes seconds
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
    """Check that each tracker answers, before the run starts; arguments as `trackers`.

    Raises:
        ConfigurationError: one does not answer, or needs a key.
    """
    for name in names:
        try:
            if name == "mlflow" and (why := _unreachable(os.environ.get(MLFLOW_URI, ""))):
                raise ConnectionError(f"{os.environ[MLFLOW_URI]}: {why}")
            for tracker in trackers([name], folder, run):
                tracker.setup()
        except Exception as error:  # whatever a tracker's own package raises
            raise ConfigurationError(f"--track {name}: cannot log to it: {error}") from error


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
    """Return why a server cannot be reached, or ""; MLflow would notice after minutes."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or getproxies():
        return ""
    return problem(f"{parts.hostname}:{parts.port or {'http': 80, 'https': 443}[parts.scheme]}")
