"""Aggregate a run's epochs to its trials table, ranking and targets.

    records -> epochs_table -> figures_table -> trials_table -> ranking, the JSON, trials.csv

The best epoch of a trial is that of `TrainingConfig.best_of` and of `best_model.pt`. Trials are
ranked by the metrics of that epoch: the first metric of their task, ties by the next ones, then by
name.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raytune_ocr.config.metrics import mode_of, reaches, score_of
from raytune_ocr.config.prices import Prices
from raytune_ocr.results.cost import add_costs, spent
from raytune_ocr.results.record import (
    BEST_MODELS_KEPT,
    FIRST_COLUMNS,
    RUN_COLUMNS,
    USED,
    TrialRecord,
)
from raytune_ocr.tasks.base import Metric
from raytune_ocr.tasks.registry import GENERAL_TARGETS, target_keys
from raytune_ocr.training.checkpoints.run_folder import BEST_MODEL, ERROR_LOG

INTEGERS = (
    *("rank", "best_epoch", "total_epochs", "seed", "model_parameters", "parent_epoch"),
    *USED,
)
"""Columns of the trials table that hold integers, or `<NA>` (Int64)."""
SUMMARIES = {
    "training_time": ("seconds", "sum"),
    "total_epochs": ("epoch", "size"),
    "train_time_per_epoch": ("seconds", "mean"),
    "memory_mb": ("memory_mb", "max"),
    "gpu_memory_mb": ("gpu_memory_mb", "max"),
    "cpu_percent": ("cpu_percent", "mean"),
    "images_per_second": ("images_per_second", "median"),
    "model_parameters": ("model_parameters", "last"),
}
"""Columns of the trials table, and the column of epochs and function that each is computed by."""
SYSTEM_METRICS = ("memory_mb", "gpu_memory_mb", "cpu_percent", "images_per_second")
MEETS = "meets_"  # prefix of the columns that say whether a target is met


def epochs_table(records: Iterable[TrialRecord]) -> pd.DataFrame:
    """Return a row per trial and epoch: the metrics of its task, and time and memory."""
    records = list(records)
    columns = [*FIRST_COLUMNS, *task_columns(records), *RUN_COLUMNS]
    rows = [row for record in records for row in record.epochs]
    present = set().union(*rows) if rows else set(columns)
    return pd.DataFrame(rows, columns=[name for name in columns if name in present])


def _numbers_of_epochs(records: Iterable[TrialRecord], names: list[str]) -> pd.DataFrame:
    """Return these columns of the epochs table as float64; NaN where a row has no such figure.

    In half the time of `epochs_table`, since the type of no column has to be found out.
    """
    rows = [row for record in records for row in record.epochs]
    somewhere = set().union(*rows)
    known = [name for name in names if name in somewhere]
    if not known:
        return pd.DataFrame(columns=names, dtype="float64")
    if any(len(row) < len(somewhere) for row in rows):
        gaps = dict.fromkeys(known, math.nan)
        rows = [gaps | row for row in rows]
    figures = np.array(list(map(itemgetter(*known), rows)), dtype=float)
    table = pd.DataFrame(figures.reshape(len(rows), len(known)), columns=known)
    return table.reindex(columns=names)


def task_columns(records: Iterable[TrialRecord]) -> list[str]:
    """Return the metrics that these trials report, each once."""
    records = list(records)
    tasks = dict.fromkeys(record.task for record in records)
    known = [name for task in tasks for name in task.columns]
    open_ones = (record for record in records if not record.task.columns)
    return list(dict.fromkeys([*known, *(name for each in open_ones for name in each.columns)]))


def figures_table(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """Return a row per trial, by name: the metrics of its best epoch, and the cost of all epochs.

    A trial without an epoch has NaN throughout.
    """
    tasks, names = [record.task for record in records], [record.name for record in records]
    metrics = task_columns(records)
    epochs = _numbers_of_epochs(records, ["epoch", *metrics, *RUN_COLUMNS])
    lengths = np.array([len(record.epochs) for record in records], dtype=int)
    trial: np.ndarray = np.repeat(np.arange(len(names)), lengths)
    of_trial = epochs.groupby(trial)
    summed = pd.DataFrame(
        {name: getattr(of_trial[column], how)() for name, (column, how) in SUMMARIES.items()}
    )
    summed["final_train_loss"] = _column(epochs, "train_loss").to_numpy()[
        np.cumsum(lengths[lengths > 0]) - 1
    ]
    summed = summed.join(spent(epochs, trial, [record.parent_epoch + 1 for record in records]))
    monitors = [task.monitor(each.config) for task, each in zip(tasks, records, strict=True)]
    at = _best_rows(epochs, trial, monitors)
    best = epochs.iloc[at][["epoch", *metrics]].set_axis(trial[at], axis="index")
    best = best.rename(columns={"epoch": "best_epoch"})
    return best.join(summed, how="outer").reindex(range(len(names))).set_axis(names)


def _best_rows(epochs: pd.DataFrame, trial: np.ndarray, monitors: Sequence[Metric]) -> np.ndarray:
    """Return the position of each trial's best epoch; none if it has no monitored value.

    Ties go to the lowest `val_loss`, then to the first epoch: see `best_of`.
    """
    scores = scores_of(epochs, monitors, trial)
    losses = scores_of(epochs, [Metric("val_loss", "min")] * len(monitors), trial)
    known = np.flatnonzero(~np.isnan(scores))
    order = known[np.lexsort((_last_if_nan(-losses)[known], -scores[known], trial[known]))]
    return order[np.unique(trial[order], return_index=True)[1]]


def scores_of(
    table: pd.DataFrame, metrics: Sequence[Metric], owner: np.ndarray | None = None
) -> np.ndarray:
    """Return the score of each row, higher is better; NaN if it has none.

    Args:
        metrics: of each row, or of each owner of rows.
        owner: by row the position of its metric (default: a metric a row).
    """
    kinds = {metric: number for number, metric in enumerate(dict.fromkeys(metrics))}
    kind = np.array([kinds[metric] for metric in metrics], dtype=int)
    kind = kind if owner is None else kind[owner]
    scores = np.full(len(table), np.nan)
    for metric, number in kinds.items():
        if metric.name in table:
            here = kind == number
            scores[here] = score_of(table[metric.name].to_numpy("float64")[here], metric.mode)
    return scores


def trials_table(
    records: Sequence[TrialRecord],
    targets: Mapping[str, float] | None = None,
    figures: pd.DataFrame | None = None,
    keep_models: int | None = BEST_MODELS_KEPT,
    prices: Prices | None = None,
) -> pd.DataFrame:
    """Return a row per trial, in the order of `records`; docs/reference/results.md has the columns.

    Args:
        targets: goals by name; each gets a column `meets_<name>`.
        figures: from `figures_table` (default: it is computed).
        keep_models: how many of the best trials keep their models at the end; None: all.
        prices: of machines; None: costs are hours and kWh, not money.
    """
    figures = figures_table(records) if figures is None else figures
    table = pd.DataFrame([_facts(record) for record in records], columns=_FACTS)
    table = table.join(figures.reset_index(drop=True))
    settings = pd.DataFrame([hyperparameters(record) for record in records], index=table.index)
    table = table.join(settings[settings.columns.difference(table.columns, sort=False)])
    tasks = [record.task for record in records]
    for task in dict.fromkeys(tasks):
        for key, metric in task.figures.items():
            table[key] = table[metric]
    table[["training_time", "total_epochs"]] = table[["training_time", "total_epochs"]].fillna(0)
    metrics = [task.ranked_by(each.config) for task, each in zip(tasks, records, strict=True)]
    _add_best(table, [first for first, *_ in metrics])
    table["rank"] = _ranks(table, metrics)
    table["checkpoint_missing"] = _why_no_checkpoint(table, keep_models)
    add_costs(table, records, prices)
    _add_targets(table, targets or {}, target_keys(dict.fromkeys(tasks)))
    return table.astype(dict.fromkeys(INTEGERS, "Int64"))


def _add_best(table: pd.DataFrame, metrics: Sequence[Metric]) -> None:
    """Add the metric that each trial is ranked by first, its value and its direction."""
    scores = scores_of(table, metrics)
    signs = [score_of(1.0, metric.mode) for metric in metrics]
    table["best_metric"] = [metric.name for metric in metrics]
    table["best_value"] = scores * signs
    table["best_mode"] = [metric.mode for metric in metrics]


_FACTS = (
    *("experiment_name", "status", "stop_reason", "error_message", "error_log", "checkpoint"),
    *("seed", "search", "parent", "parent_epoch", "confirms", *USED),
)


def _facts(record: TrialRecord) -> dict[str, Any]:
    """Return the columns of a trial that do not come from its epochs."""
    folder = f"{record.config.output_dir}/{record.name}"
    return {
        **record.used,
        "experiment_name": record.name,
        "status": record.status,
        "stop_reason": record.stop_reason,
        "error_message": record.error_message,
        "error_log": _if_there(f"{folder}/{ERROR_LOG}"),
        "checkpoint": _if_there(f"{folder}/{BEST_MODEL}"),
        "seed": record.config.seed,
        "search": record.search or None,
        "parent": record.parent or None,
        "parent_epoch": record.parent_epoch if record.parent else None,
        "confirms": record.confirms or None,
    }


def hyperparameters(record: TrialRecord) -> dict[str, Any]:
    """Return the main settings of a trial, and each searched one."""
    return record.task.hyperparameters(record.config) | dict(record.sampled)


def _if_there(path: str) -> str | None:
    if os.path.exists(path):  # noqa: PTH110 - of thousands of trials; a Path takes four times as long
        return str(Path(path).absolute())
    return None


def _ranks(table: pd.DataFrame, metrics: Sequence[Sequence[Metric]]) -> pd.Series:
    """Return the rank of each completed trial of the search, from 1; `<NA>` of the others."""
    ranks = pd.Series(pd.NA, table.index, dtype="Int64")
    has_place = (table["status"] == "completed") & table["best_epoch"].notna()
    has_place &= table["confirms"].isna()
    some = np.flatnonzero(has_place)
    if not len(some):
        return ranks
    place = [metrics[number] for number in some.tolist()]
    # lexsort takes the deciding key last: names, then tie-breakers, then the first metric.
    ranked = table.iloc[some]
    keys: list[np.ndarray] = [ranked["experiment_name"].to_numpy().astype(str)]
    for level in reversed(range(max(map(len, place)))):
        nth = [each[min(level, len(each) - 1)] for each in place]
        keys.append(_last_if_nan(-scores_of(ranked, nth)))
    ranks.iloc[some[np.lexsort(keys)]] = np.arange(1, len(some) + 1)
    return ranks


def _last_if_nan(keys: np.ndarray) -> np.ndarray:
    """Return ascending sort keys, NaN and infinity last."""
    return np.where(np.isnan(keys), np.inf, keys)


def _why_no_checkpoint(table: pd.DataFrame, keep_models: int | None) -> pd.Series:
    """Return why each trial without a checkpoint has none; None if it has one."""
    beyond = table["rank"].gt(keep_models or np.inf).fillna(False).astype(bool)
    reasons = [
        (table["checkpoint"].notna(), None),
        (table["best_epoch"].isna(), "no validated epoch"),
        (
            table["confirms"].notna(),
            "removed: confirming trials keep no model",
        ),
        (table["status"] == "failed", "removed: failed trials keep no model"),
        (
            beyond,
            f"removed: not among the best {keep_models} (--keep-models keeps more)",
        ),
    ]
    missing = np.select(
        [holds.to_numpy(bool) for holds, _ in reasons],
        [np.array(reason, dtype=object) for _, reason in reasons],
        np.array("missing: moved or removed", dtype=object),
    )
    return pd.Series(missing, table.index)


def _add_targets(
    table: pd.DataFrame, targets: Mapping[str, float], keys: Mapping[str, str]
) -> None:
    """Add a column `meets_<name>` for each target; nobody meets one of another task.

    Training has converged only if its model is good enough: `convergence_epochs` is met only by
    trials that also meet the accuracy targets of their task.
    """
    modes = dict(zip(table["best_metric"], table["best_mode"], strict=True))
    values = {name: _column(table, keys.get(name, name)) for name in targets}
    good = {
        name: _reached(values[name], goal, mode_of(name, modes.get(name)))
        for name, goal in targets.items()
    }
    for name in targets:
        table[MEETS + name] = good[name]
        if name == "convergence_epochs":
            for accuracy in targets.keys() - GENERAL_TARGETS.keys():
                table[MEETS + name] &= good[accuracy] | values[accuracy].isna()


def _reached(values: pd.Series, goal: float, mode: str) -> pd.Series:
    return pd.Series([reaches(value, goal, mode) for value in values], values.index, dtype=bool)


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    """Return the column as float64; all NaN if it is missing."""
    return table[name].astype("float64") if name in table else pd.Series(float("nan"), table.index)


def ranking(records: Iterable[TrialRecord], table: pd.DataFrame | None = None) -> list[TrialRecord]:
    """Return the completed trials of the search, best first, without confirming trials.

    Args:
        table: of these trials, by `trials_table` (default: it is computed).
    """
    records = list(records)
    table = trials_table(records) if table is None else table
    ranks = table["rank"].dropna().sort_values()
    return [records[place] for place in ranks.index]


class Aggregator:
    """Makes the trials tables during a run.

    Only changed trials are aggregated again.

    Args:
        records: the run's trials by name, a growing mapping.
        targets: goals by name.
        keep_models: how many of the best trials keep their models; None: all.
        prices: of machines; None: costs are not money.
    """

    def __init__(
        self,
        records: Mapping[str, TrialRecord],
        targets: Mapping[str, float],
        keep_models: int | None = BEST_MODELS_KEPT,
        prices: Prices | None = None,
    ) -> None:
        self.records = records
        self.targets = targets
        self.keep_models = keep_models
        self.prices = prices
        self._figures: pd.DataFrame | None = None
        self._seen: dict[str, tuple[TrialRecord, Any, Any]] = {}

    def table(self) -> pd.DataFrame:
        """Return the current trials table."""
        records = list(self.records.values())
        changed = [record for record in records if self._has_changed(record)]
        if changed or self._figures is None:
            fresh, known = figures_table(changed), self._figures
            if known is not None:
                fresh = pd.concat([known[~known.index.isin(fresh.index)], fresh])
            self._figures = fresh
            self._seen |= {record.name: _stamp(record) for record in changed}
        figures = self._figures.loc[[record.name for record in records]]
        return trials_table(records, self.targets, figures, self.keep_models, self.prices)

    def _has_changed(self, record: TrialRecord) -> bool:
        seen, now = self._seen.get(record.name), _stamp(record)
        return seen is None or any(a is not b for a, b in zip(seen, now, strict=True))


def _stamp(record: TrialRecord) -> tuple[TrialRecord, Any, Any]:
    """Values that change with each epoch of a trial, compared by identity."""
    first, last = (record.epochs[0], record.epochs[-1]) if record.epochs else (None, None)
    return record, first, last
