"""Optuna's storages: opened by a file or a URL, and read back as a results table."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from raytune_ocr.errors import (
    ConfigurationError,
    DataLoaderError,
    DataNotFoundError,
    unknown_name,
)

NAME_ATTRIBUTE = "experiment_name"
METRIC_ATTRIBUTE = "metric"  # of a study
STATUS = {"COMPLETE": "completed", "PRUNED": "completed", "FAIL": "failed"}
STOP_REASON = {"COMPLETE": "", "PRUNED": "scheduler", "FAIL": "error"}
BUSY_SECONDS = 60  # that SQLite waits for another writer


def is_url(source: str | os.PathLike[str]) -> bool:
    """Whether it is a database URL and no path."""
    return "://" in str(source)


def is_optuna_storage(source: str | os.PathLike[str]) -> bool:
    """Whether it is a database URL, or a file that begins as Optuna's journals do."""
    if is_url(source):
        return True
    try:
        with Path(source).open("rb") as file:
            return file.read(12).startswith(b'{"op_code"')
    except (OSError, ValueError):
        return False


def open_storage(source: str | os.PathLike[str]) -> Any:
    """Open the storage at a URL of a database, or the journal in a file, which is made if absent.

    Raises:
        ConfigurationError: Optuna is not installed, or the place cannot be used.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage, RDBStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise ConfigurationError(
            f"{source}: Optuna is not installed; pip install 'raytune-ocr[optuna]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        if not is_url(source):
            return JournalStorage(JournalFileBackend(str(Path(source).absolute())))
        wait = {"connect_args": {"timeout": BUSY_SECONDS}}
        return RDBStorage(str(source), wait if str(source).startswith("sqlite") else None)
    except Exception as error:  # the classes of any database driver
        raise ConfigurationError(
            f"{source}: cannot be opened as an Optuna storage: {error}"
        ) from error


def optuna_results(source: str | os.PathLike[str], study: str | None = None) -> pd.DataFrame:
    """Return a row a finished trial of a study, best first.

    Args:
        study: its name; None: the only one.

    Returns:
        `experiment_name`, `status`, `stop_reason`, `rank`, `best_metric`, `best_value`,
        `total_epochs`, `training_time` (seconds), parameters and attributes by their names.

    Raises:
        DataNotFoundError: no such file or study.
        DataLoaderError: the storage cannot be read, or holds several studies and none is named.
    """
    if not is_url(source) and not Path(source).exists():
        raise DataNotFoundError(f"{source}: no such file")
    try:
        storage = open_storage(source)
        names = {each.study_name: each._study_id for each in storage.get_all_studies()}
        number = names[_chosen(source, list(names), study)]
        trials = storage.get_all_trials(number, deepcopy=False)
        attributes = storage.get_study_user_attrs(number)
        minimized = storage.get_study_directions(number)[0].name == "MINIMIZE"
    except ConfigurationError as error:
        raise DataLoaderError(str(error)) from None
    metric = attributes.get(METRIC_ATTRIBUTE, "value")
    rows = [_row(trial, metric) for trial in trials if trial.state.name in STATUS]
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows)
    ranked = table["best_value"].where(table["status"] == "completed").astype("float64")
    table["rank"] = ranked.rank(method="first", ascending=minimized).astype("Int64")
    return table.sort_values(["rank", NAME_ATTRIBUTE], ignore_index=True)


def _chosen(source: object, names: list[str], study: str | None) -> str:
    if study is None and len(names) == 1:
        return names[0]
    if not names:
        raise DataNotFoundError(f"{source}: has no study")
    if study is None:
        raise DataLoaderError(
            f"{source}: has {len(names)} studies; pass study= with one of: {', '.join(names)}"
        )
    if study not in names:
        raise DataNotFoundError(f"{source}: {unknown_name('study', study, names)}")
    return study


def _row(trial: Any, metric: str) -> Mapping[str, Any]:
    state, attributes = trial.state.name, trial.user_attrs
    value = trial.values[0] if trial.values else math.nan
    duration = trial.duration.total_seconds() if trial.duration else math.nan
    return {
        NAME_ATTRIBUTE: f"trial_{trial.number}",
        "status": STATUS[state],
        "stop_reason": STOP_REASON[state],
        "rank": None,
        "best_metric": metric,
        "best_value": value,
        "total_epochs": len(trial.intermediate_values),
        "training_time": duration,
        **trial.params,
        **attributes,
    }
