"""Analyse runs: learning curves, best trial, comparisons, Pareto front, confirmation.

Nothing is drawn here. Accuracies go from 0 to 1, times are in seconds, epochs count from 1.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raytune_ocr.config.metrics import MODES, mode_of
from raytune_ocr.config.metrics import score_of as oriented
from raytune_ocr.errors import DataLoaderError, DataNotFoundError
from raytune_ocr.results.aggregate import epochs_table
from raytune_ocr.results.document import read_document
from raytune_ocr.results.record import CONFIRMING_EPOCHS_TABLE, EPOCHS_TABLE
from raytune_ocr.results.run_folders import run_folders
from raytune_ocr.results.tables import best_first, load_results
from raytune_ocr.tasks.registry import figure_names

Source = str | os.PathLike[str]


def learning_curves(source: Source, confirming: bool = False) -> pd.DataFrame:
    """Return a row per trial and epoch, also of trials that still run.

    Args:
        source: a results JSON or an output folder.
        confirming: include the trials that trained the best ones again with other seeds.

    Returns:
        `experiment_name`, `epoch` (from 1), losses, accuracies (0..1), `learning_rate`, `seconds`
        (of the epoch), `memory_mb` (MiB) etc.; no rows if the run has no `epochs.csv`, or another
        run has replaced it in its folder.

    Raises:
        DataNotFoundError: there are no results.
    """
    path, document = read_document(source)
    names = (EPOCHS_TABLE, CONFIRMING_EPOCHS_TABLE) if confirming else (EPOCHS_TABLE,)
    for folder in run_folders(path, document):
        files = [folder / name for name in names if (folder / name).exists()]
        if files:
            return pd.concat(map(read_epochs, files), ignore_index=True)
    return epochs_table([])


def read_epochs(file: Path) -> pd.DataFrame:
    """Read a table exactly: numbers to the last bit, and names such as 001 or null.

    Raises:
        DataLoaderError: it is damaged; names the line and the value.
    """
    try:
        table = pd.read_csv(
            file,
            engine="python",  # the C engine rounds
            dtype={"experiment_name": str},
            keep_default_na=False,
            na_values=[""],
        )
    except (ValueError, csv.Error) as error:  # pandas' errors are ValueErrors
        raise DataLoaderError(f"{file}: damaged: {error}") from None
    for name in ("experiment_name", "epoch"):
        if name not in table or table[name].isna().any():
            raise DataLoaderError(f"{file}: damaged: must have {name} in each row")
    for name in table.columns.drop("experiment_name"):
        _check_numbers(file, table[name])
    return table


def _check_numbers(file: Path, column: pd.Series) -> None:
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = (numbers.isna() & column.notna()) | (numbers.abs() == math.inf)
    if column.name == "epoch" and not wrong.any():
        wrong = numbers % 1 != 0
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])  # the index of a damaged file may be a column
        line, value = row + 2, str(column.iloc[row])[:40]
        raise DataLoaderError(
            f"{file}: damaged: line {line}: {column.name} must be a number, got {value!r}"
        )


def score_name(table: pd.DataFrame) -> str:
    """Return the column by which trials of `table` are ranked.

    Raises:
        DataNotFoundError: when no trial has a score.
    """
    named = table["best_metric"].dropna() if "best_metric" in table else ()
    for name in (*figure_names(), *dict.fromkeys(named)):
        if name in table and table[name].notna().any():
            return name
    raise DataNotFoundError("no trial has a score: none finished an epoch")


def score_mode(table: pd.DataFrame) -> str:
    """Whether a higher ("max") or a lower ("min") value of `score_name(table)` is better.

    Raises:
        ConfigurationError: the table does not say it, and the score's name does not imply it.
    """
    name = score_name(table)
    if "best_metric" in table and (of_it := table["best_metric"] == name).any():
        return str(table.loc[of_it, "best_mode"].iloc[0])
    return mode_of(name)


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Return completed trials with a score, best first."""
    return best_first(table[(table["status"] == "completed") & table[score_name(table)].notna()])


def best(source: Source | Sequence[Source]) -> pd.Series:
    """Return the winner's row of `load_results(source)`; for several runs, the best winner's.

    Raises:
        DataNotFoundError: when no trial completed.
    """
    table = load_results(source)
    if table.empty or not len(done := ranked(table)):
        raise DataNotFoundError(f"{source}: no trial completed")
    if isinstance(source, (str, os.PathLike)):
        return done.loc[_place_of_winner(source, done)]
    of_run = {one: done[done["source"] == str(one)] for one in source}
    return done.loc[min(_place_of_winner(one, own) for one, own in of_run.items() if len(own))]


def winner_name(source: Source) -> str | None:
    """Return the trial that the run's JSON names as the best."""
    _, document = read_document(source)
    result = document.get("best_result")
    return result.get("experiment_name") if isinstance(result, dict) else None


def _place_of_winner(source: Source, done: pd.DataFrame) -> int:
    """Return the winner's row in a run's ranking; the first if the run names none of them."""
    named = done.index[done["experiment_name"] == winner_name(source)]
    return int((named if len(named) else done.index)[0])


def compare(runs: Source | Sequence[Source]) -> pd.DataFrame:
    """Compare runs: a row per run, in the given order; a single path is one run.

    Returns:
        `source`, `trials`, `completed`, `failed`, `best_trial`, `score` (name of the figure),
        `best_score` (of that trial in the search), `median_score` (0..1), `epochs`,
        `training_time` (seconds, of all trials; epochs that PBT clones share with their parents
        count once).
    """
    sources = [runs] if isinstance(runs, (str, os.PathLike)) else runs
    return pd.DataFrame([_run_row(source) for source in sources])


def _run_row(source: Source) -> dict[str, Any]:
    table = load_results(source)
    statuses = list(table.get("status", []))
    epochs, seconds = (
        table[n].sum() if n in table else 0 for n in ("total_epochs", "training_time")
    )
    twice = _inherited(source, table)
    row = {
        "source": str(source),
        "trials": len(table),
        "completed": statuses.count("completed"),
        "failed": statuses.count("failed"),
        "best_trial": None,
        "score": None,
        "best_score": math.nan,
        "median_score": math.nan,
        "epochs": int(epochs - twice[0]),
        "training_time": float(seconds - twice[1]),
    }
    if row["completed"]:
        score, done = score_name(table), ranked(table)
        winner = done.loc[_place_of_winner(source, done)]
        row |= {"best_trial": winner["experiment_name"], "score": score}
        row |= {"best_score": winner[score], "median_score": done[score].median()}
    return row


def _inherited(source: Source, table: pd.DataFrame) -> tuple[float, float]:
    """Return the epochs and seconds that PBT clones share with their parents."""
    if "parent_epoch" not in table:
        return 0, 0.0
    epochs = table.set_index("experiment_name")["parent_epoch"]
    curves = learning_curves(source)
    if curves.empty:  # as long as their others, then
        return epochs.sum(), (table["train_time_per_epoch"] * table["parent_epoch"]).sum()
    shared = curves["epoch"] <= curves["experiment_name"].map(epochs)
    return epochs.sum(), curves["seconds"][shared].sum()


def score_of(result: dict[str, Any]) -> float:
    """Return the score that a result is ranked by, higher is better; NaN if it has none."""
    found = (result.get(name) for name in figure_names())
    score = next((float(value) for value in found if value is not None), math.nan)
    value, mode = result.get("best_value"), result.get("best_mode")
    if not math.isnan(score) or value is None or mode not in MODES:
        return score
    return float(oriented(value, mode))


def pareto(table: pd.DataFrame, cost: str = "training_time") -> pd.DataFrame:
    """Return completed trials by cost, with `on_front`: no cheaper trial is as good or better.

    Returns:
        `experiment_name`, `cost` (seconds), `score` (as it was measured), `on_front`.

    Raises:
        DataNotFoundError: no trial has a score, or the results have no such cost.
    """
    if cost not in table:
        raise DataNotFoundError(f"The results have no {cost}.")
    done = ranked(table)
    found = done[["experiment_name", cost, score_name(table)]].dropna()
    found.columns = ["experiment_name", "cost", "score"]
    merit = found["score"] * oriented(1.0, score_mode(table))
    order = found.assign(merit=merit).sort_values(["cost", "merit"], ascending=[True, False])
    before = order["merit"].cummax().shift(fill_value=-math.inf)
    front = order.assign(on_front=order["merit"] > before)
    return front.drop(columns="merit").reset_index(drop=True)


def failures(table: pd.DataFrame) -> pd.DataFrame:
    """Return `experiment_name` and `error_message` of failed trials."""
    if "error_message" not in table:
        table = table.assign(error_message="")
    failed = table[table["status"] == "failed"]
    return failed[["experiment_name", "error_message"]].reset_index(drop=True)


def targets_table(source: Source) -> pd.DataFrame:
    """Return a row per trial and target: `experiment_name`, `target`, `goal`, `value`, `met`."""
    _, document = read_document(source)
    rows = [
        {"experiment_name": result["experiment_name"], "target": name, **target}
        for result in document["all_results"]
        for name, target in (result.get("targets") or {}).items()
    ]
    return pd.DataFrame(rows, columns=["experiment_name", "target", "goal", "value", "met"])


def unfinished(source: Source) -> list[tuple[str, int]]:
    """Return the unfinished trials of a run and their last epochs."""
    curves = learning_curves(source, confirming=True)
    _, document = read_document(source)
    confirming = (document.get("confirmation") or {}).get("results", [])
    done = {result["experiment_name"] for result in [*document["all_results"], *confirming]}
    left = curves[~curves["experiment_name"].isin(done)]
    return [(str(n), int(e)) for n, e in left.groupby("experiment_name")["epoch"].max().items()]


def confirmed(source: Source) -> tuple[pd.DataFrame, str]:
    """Return the scores of the best trials with fresh seeds, and the verdict on the winner's lead.

    Returns:
        A row per trial and seed, best mean first: `experiment_name`, `metric`, `seed`, `score`, and
        of the trial `mean`, `std`, `low`, `high` (95 % bootstrap of the mean). No rows if
        nothing was confirmed (yet); the verdict is "" if no confirmation has begun.
    """
    _, document = read_document(source)
    found = document.get("confirmation") or {}
    columns = ["experiment_name", "metric", "seed", "score", "mean", "std", "low", "high"]
    rows = []
    for each in found.get("candidates", []):
        for seed, score in each["scores"].items():
            of_all = [each["mean"], each["std"], *each["interval"]]
            rows.append([each["experiment_name"], found["metric"], int(seed), score, *of_all])
    return pd.DataFrame(rows, columns=columns), found.get("verdict", "")


def held_out(source: Source) -> pd.DataFrame:
    """Return the winner's accuracies on validation and test.

    Returns:
        `experiment_name`, `split`, `accuracy` (char or seq), `value`, `low` and `high` (Wilson,
        95 %; from 0 to 1). No rows if the test split was not read.
    """
    _, document = read_document(source)
    best = document.get("best_result") or {}
    columns = ["experiment_name", "split", "accuracy", "value", "low", "high"]
    rows = [
        [best["experiment_name"], split, kind, best[name], *best[f"{name}_interval"]]
        for kind in ("char", "seq")
        for split, name in (
            ("validation", f"best_val_{kind}_accuracy"),
            ("test", f"test_{kind}_accuracy"),
        )
        if best.get(f"{name}_interval")
    ]
    return pd.DataFrame(rows, columns=columns)
