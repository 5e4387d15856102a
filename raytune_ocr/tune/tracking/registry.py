"""Create and check the trackers of a run: MLflow and Weights & Biases.

Trackers use Ray's own callbacks. A trial writes its TensorBoard files itself; if Ray stops it, the
driver adds the last images.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies

from raytune_ocr.errors import ConfigurationError, unknown_name
from raytune_ocr.tune.cluster.head_watchdog import problem

if TYPE_CHECKING:
    from ray.tune.logger import LoggerCallback

TRACKERS = ("mlflow", "wandb")
MLFLOW_URI = "MLFLOW_TRACKING_URI"
MLFLOW_STORE = "mlflow.db"  # in the output folder, unless MLFLOW_TRACKING_URI is set


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


def trackers(names: Sequence[str], folder: Path, run: str) -> list[LoggerCallback]:
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

    made: list[LoggerCallback] = []
    if "mlflow" in names:
        store = os.environ.get(MLFLOW_URI) or f"sqlite:///{folder / MLFLOW_STORE}"
        made.append(MLflow(store, experiment_name=folder.name, run=run))
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


def _unreachable(uri: str) -> str:
    """Return why a server cannot be reached, or ""; MLflow would notice after minutes."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or getproxies():
        return ""
    return problem(f"{parts.hostname}:{parts.port or {'http': 80, 'https': 443}[parts.scheme]}")
