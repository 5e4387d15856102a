"""Export a finished run in Ray Tune's files, for code that reads those."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_ocr.files import replacing
from raytune_ocr.results.analysis import learning_curves
from raytune_ocr.results.document import read_document
from raytune_ocr.tune.cluster.ray_patches import trial_of_ray

if TYPE_CHECKING:
    import pandas as pd

SNAPSHOT = "experiment_state-raytune_ocr.json"
RESULTS = "result.json"  # in the folder of a trial, a line per epoch
STATUS = {"completed": "TERMINATED", "failed": "ERROR"}


def export_ray(folder: str | os.PathLike[str]) -> Path:
    """Write a run as Ray Tune would have, so that `ray.tune.ExperimentAnalysis(folder)` reads it.

    A `result.json` is added to the folder of each trial, and a snapshot of all trials to the run's.
    Ray reads parts of the snapshot with pickle: read only what you wrote yourself. A resume of the
    run removes it.

    Args:
        folder: the output folder of the run.

    Returns:
        The snapshot.

    Raises:
        DataNotFoundError: the folder holds no results.
    """
    path = Path(folder).absolute()
    _, document = read_document(path)
    curves = learning_curves(path)
    states = []
    for number, result in enumerate(document["all_results"]):
        name = result["experiment_name"]
        trial_id = f"{number:05d}"
        rows = _rows(curves[curves["experiment_name"] == name], result, trial_id)
        (path / name).mkdir(exist_ok=True)
        with replacing(path / name / RESULTS) as aside:
            aside.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        states.append(_trial(path, result, trial_id, rows).get_json_state())
    with replacing(path / SNAPSHOT) as aside:
        content = {"trial_data": states, "runner_data": {}, "stats": {"start_time": 0.0}}
        aside.write_text(json.dumps(content), encoding="utf-8")
    return path / SNAPSHOT


def _rows(curve: pd.DataFrame, result: Mapping[str, Any], trial_id: str) -> list[dict[str, Any]]:
    """Return the reports of a trial under Ray's names, without missing metrics."""
    total = 0.0
    rows: list[dict[str, Any]] = []
    for row in curve.drop(columns="experiment_name").to_dict("records"):
        total += row["seconds"]
        rows.append(
            {
                **{str(name): value for name, value in row.items() if value == value},  # not NaN
                "training_iteration": int(row["epoch"]),
                "time_this_iter_s": row["seconds"],
                "time_total_s": total,
                "trial_id": trial_id,
                "done": len(rows) + 1 == len(curve),
                "config": result.get("config") or result["hyperparameters"],
            }
        )
    return rows


def _trial(
    folder: Path, result: Mapping[str, Any], trial_id: str, rows: list[dict[str, Any]]
) -> Any:
    """Return Ray's trial of a result, as it ended."""
    config = result.get("config") or result["hyperparameters"]
    sampled = result.get("sampled") or {}
    trial = trial_of_ray(
        folder, result["experiment_name"], trial_id, config, evaluated_params=sampled
    )
    for row in rows:
        trial.update_last_result(row)
    trial.set_status(STATUS[result["status"]])
    return trial
