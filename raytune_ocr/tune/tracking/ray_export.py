"""A finished run in the files of Ray Tune, for people's notebooks that read those."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_ocr.files import replacing
from raytune_ocr.results.analysis import learning_curves
from raytune_ocr.results.document import read_document

if TYPE_CHECKING:
    import pandas as pd
    from ray.tune.experiment import Trial

SNAPSHOT = "experiment_state-raytune_ocr.json"
RESULTS = "result.json"  # in the folder of a trial, a line an epoch
STORAGE_MARKER = ".validate_storage_marker"  # which Ray leaves in a folder that it can write to
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
    (path / STORAGE_MARKER).unlink(missing_ok=True)
    with replacing(path / SNAPSHOT) as aside:
        content = {"trial_data": states, "runner_data": {}, "stats": {"start_time": 0.0}}
        aside.write_text(json.dumps(content), encoding="utf-8")
    return path / SNAPSHOT


def _rows(curve: pd.DataFrame, result: Mapping[str, Any], trial_id: str) -> list[dict[str, Any]]:
    """Return the reports of a trial under Ray's names; figures that it has not are left out."""
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
) -> Trial:
    """Return Ray's trial of a result, as it ended."""
    from ray.train._internal.storage import StorageContext
    from ray.tune import PlacementGroupFactory
    from ray.tune.experiment import Trial

    name = result["experiment_name"]
    trial: Any = Trial(
        "raytune_ocr",
        config=result.get("config") or result["hyperparameters"],
        trial_id=trial_id,
        storage=StorageContext(str(folder.parent), folder.name, trial_dir_name=name),
        evaluated_params=result.get("sampled") or {},
        experiment_tag=name,
        placement_group_factory=PlacementGroupFactory([{"CPU": 1.0}]),
        stub=True,
    )
    trial.placement_group_factory = PlacementGroupFactory([{"CPU": 1.0}])
    trial.custom_trial_name = trial.relative_logdir = name
    for row in rows:
        trial.update_last_result(row)
    trial.set_status(STATUS[result["status"]])
    return trial
