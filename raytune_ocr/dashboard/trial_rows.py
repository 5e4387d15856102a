"""Turn the trials of a journal into rows of the page's table, and into curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from raytune_ocr.config.metrics import known_mode, score_of
from raytune_ocr.results.record import FIRST_COLUMNS
from raytune_ocr.results.replay import TrialState

HOUR = 3600.0
IDLE_SECONDS = 1.0  # between two epochs, from which a trial was idle
NOT_SETTINGS = ("experiment_name", "output_dir", "metadata_path", "changes")
INFO = (
    *("trial", "status", "stop_reason", "score", "best_epoch", "epochs", "max_epochs", "seconds"),
    *("cpu_hours", "gpu_hours", "node", "began", "ended", "parent", "search", "confirms", "error"),
    *("tags", "notes"),
)
"""What every row begins with; settings and metrics follow."""
TIMES = ("began", "ended")  # Unix times, which need more than seven digits


def settings_of(trial: TrialState) -> dict[str, Any]:
    """Return the settings of a trial after its last epoch, by dotted name."""
    settings = dict(trial.config)
    for change in settings.get("changes") or []:
        if change["after_epoch"] < len(trial.epochs):
            settings |= {name: value for name, value in change.items() if name != "after_epoch"}
    return _flat({name: settings[name] for name in settings if name not in NOT_SETTINGS})


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = ", ".join(map(str, value)) if isinstance(value, list) else value
    return flat


def is_drawn(name: str, names: Iterable[str]) -> bool:
    """Whether a setting, or the mapping that it is part of, is in `names`."""
    return any(name == other or name.startswith(f"{other}.") for other in names)


def monitor_of(trial: TrialState) -> tuple[str, str]:
    """Return the metric by which a trial is judged, and its mode; "" if nothing tells it."""
    metric = str(trial.config.get("early_stopping_monitor", ""))
    return metric, trial.config.get("early_stopping_mode") or known_mode(metric)


def best_row(trial: TrialState) -> Mapping[str, Any]:
    """Return the row of the best epoch by the monitored metric; ties by the lower `val_loss`.

    It is empty if no epoch has the metric, or nothing tells whether higher is better.
    """
    metric, mode = monitor_of(trial)

    def merit(row: Mapping[str, Any]) -> tuple[float, float]:
        loss = number(row.get("val_loss"))
        return score_of(row[metric], mode), -math.inf if math.isnan(loss) else -loss

    known = [row for row in trial.epochs if not math.isnan(number(row.get(metric)))]
    return max(known, key=merit) if known and mode else {}


def number(value: Any) -> float:
    """Return a number as it is, anything else as NaN."""
    return float(value) if isinstance(value, (int, float)) else math.nan


def info_of(name: str, trial: TrialState, parent: tuple[str, int]) -> dict[str, Any]:
    """Return the values of `INFO`.

    Args:
        parent: the trial that it was copied from and the epoch of the copy; ("", 0): none.
    """
    best = best_row(trial)
    metric, _ = monitor_of(trial)
    own = [row for row in trial.epochs if row["epoch"] > parent[1]]
    times = [row["ended_at"] for row in own if row.get("ended_at")]
    values = {
        "trial": name,
        "status": trial.status,
        "stop_reason": trial.stop_reason if trial.is_finished else "",
        "score": best.get(metric),
        "best_epoch": best.get("epoch"),
        "epochs": trial.epochs[-1]["epoch"] if trial.epochs else 0,
        "max_epochs": trial.config.get("num_epochs"),
        "seconds": sum(row["seconds"] for row in own),
        "cpu_hours": _hours(own, "cpus"),
        "gpu_hours": _hours(own, "gpus"),
        "node": trial.made_with.get("node"),
        "began": times[0] - own[0]["seconds"] if times else None,
        "ended": times[-1] if times else None,
        "parent": parent[0],
        "search": trial.search,
        "confirms": trial.confirms,
        "error": trial.error_message if trial.is_finished else "",
        "tags": "",
        "notes": "",
    }
    return {name: values[name] for name in INFO}


def _hours(rows: Sequence[Mapping[str, Any]], reserved: str) -> float | None:
    if not rows or any(reserved not in row for row in rows):
        return None
    return float(sum(row["seconds"] * row[reserved] for row in rows)) / HOUR


def metrics_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, None]:
    """Return the names of what epochs report, in order."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: None for name in names if name not in (*FIRST_COLUMNS, "ended_at")}


def curve_of(trial: TrialState, metric: str) -> dict[str, list[Any]]:
    """Return a trial's epochs, the metric in them, and the time and cost until each."""
    return {"value": [short(row.get(metric)) for row in trial.epochs], **times_of(trial)}


def times_of(trial: TrialState) -> dict[str, list[Any]]:
    """Return a trial's epochs, and the seconds, CPU-hours and GPU-hours until each.

    Hours are None from the first epoch that does not say what was reserved for it.
    """
    rows = trial.epochs
    cpu_hours = [row["seconds"] * row.get("cpus", math.nan) / HOUR for row in rows]
    gpu_hours = [row["seconds"] * row.get("gpus", math.nan) / HOUR for row in rows]
    return {
        "epoch": [row["epoch"] for row in rows],
        "seconds": [short(float(each)) for each in accumulate(row["seconds"] for row in rows)],
        "cpu_hours": [short(each) for each in accumulate(cpu_hours)],
        "gpu_hours": [short(each) for each in accumulate(gpu_hours)],
    }


def idle_times(trial: TrialState) -> list[list[float]]:
    """Return when a trial did not train between two epochs, as Unix times: paused or resumed."""
    rows = [row for row in trial.epochs if row.get("ended_at")]
    times = [[a["ended_at"], b["ended_at"] - b["seconds"]] for a, b in pairwise(rows)]
    return [[began, ended] for began, ended in times if ended - began > IDLE_SECONDS]


def short(value: Any) -> Any:
    """Return a number with seven digits, which halves the text; NaN and infinities as None."""
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value
