"""Results as pandas tables: `trials.csv`, `epochs.csv` and `load_results`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.files import replacing
from raytune_ocr.results.aggregate import INTEGERS, MEETS, epochs_table, trials_table
from raytune_ocr.results.document import OPTIONAL, read_document, result_of
from raytune_ocr.results.optuna_storage import is_optuna_storage, optuna_results
from raytune_ocr.results.record import (
    CONFIRMING_EPOCHS_TABLE,
    CONFIRMING_TRIALS_TABLE,
    EPOCHS_TABLE,
    TRIALS_TABLE,
    TrialRecord,
)
from raytune_ocr.tasks.registry import figure_names
from raytune_ocr.text import spreadsheet_cell

MERIT = "merit"  # a column for a while: the best value, higher is better


def results_table(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return a row per result of a JSON: the columns of `trials.csv`, with the same types."""
    table = pd.DataFrame([_flat(result) for result in results])
    for name in (*figure_names(), "best_value"):
        if name in table:
            table[name] = pd.to_numeric(table[name], errors="coerce")
    for name in INTEGERS:
        if name in table:
            table[name] = _integers(table[name])
    return table


def _integers(values: pd.Series) -> pd.Series:
    """Return values as Int64; those that are no integers of a float's precision are `<NA>`."""
    numbers = pd.to_numeric(values, errors="coerce")
    return numbers.where((numbers % 1 == 0) & (numbers.abs() <= 2**53)).astype("Int64")


def _flat(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the single values of a result, its metrics, settings and met targets by name."""
    flat = {name: value for name, value in result.items() if not isinstance(value, (dict, list))}
    flat.setdefault("error_message", result.get("error") or "")
    flat.pop("error", None)
    met = {MEETS + name: each["met"] for name, each in (result.get("targets") or {}).items()}
    return {**result.get("metrics", {}), **flat, **result.get("hyperparameters", {}), **met}


def write_tables(
    folder: Path,
    records: Sequence[TrialRecord],
    targets: Mapping[str, float],
    table: pd.DataFrame | None = None,
) -> None:
    """Write `trials.csv` and `epochs.csv`; for confirming trials `confirmation_*.csv`.

    Args:
        table: of these trials, by `trials_table` (default: it is computed).
    """
    table = trials_table(records, targets) if table is None else table
    for confirming, trials, epochs in (
        (False, TRIALS_TABLE, EPOCHS_TABLE),
        (True, CONFIRMING_TRIALS_TABLE, CONFIRMING_EPOCHS_TABLE),
    ):
        some = [record for record in records if bool(record.confirms) == confirming]
        if confirming and not some:
            continue
        rows = table[table["confirms"].notna() == confirming].drop(columns="confirms")
        unused = [name for name in OPTIONAL if rows[name].isna().all()]
        for name, each in ((trials, rows.drop(columns=unused)), (epochs, epochs_table(some))):
            write_csv(folder / name, each)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table aside and then in place; text that a spreadsheet would compute is quoted."""
    quoted = table.copy(deep=False)
    for name in table.select_dtypes(exclude=["number", "bool", "datetime"]):
        quoted[name] = table[name].map(_cell)
    with replacing(path) as aside:
        quoted.rename(columns=_cell).to_csv(aside, index=False)


def _cell(value: Any) -> Any:
    return spreadsheet_cell(value) if isinstance(value, str) else value


def load_results(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    study: str | None = None,
) -> pd.DataFrame:
    """Return results as a table: a row per trial, best first.

    Args:
        source: a results JSON (also the original system's), an output folder, or a list of
            either; with several, the column `source` names the run. Also an Optuna storage: a
            database URL, or the file of its journal; see `optuna_results`.
        study: of an Optuna storage that holds several.

    Returns:
        The JSON's metrics and hyper-parameters by name: accuracies from 0 to 1, times in seconds.
        In results of the original system, `Infinity` becomes NaN, and `error` `error_message`.

    Raises:
        DataNotFoundError: there is no such file, or a folder has no results.
        DataLoaderError: a file is not a results JSON.
    """
    if not isinstance(source, (str, os.PathLike)):
        tables = [load_results(one).assign(source=str(one)) for one in source]
        return best_first(pd.concat(tables, ignore_index=True)) if tables else pd.DataFrame()
    if is_optuna_storage(source):
        return optuna_results(source, study)
    _, document = read_document(source)
    results = document["all_results"]
    return best_first(results_table(results)) if results else _no_results()


def _no_results() -> pd.DataFrame:
    """Return the table of a run of readers in which no trial has finished: its columns alone."""
    pending = TrialRecord(TrainingConfig())
    return results_table([result_of(pending)]).iloc[:0]


def best_first(table: pd.DataFrame) -> pd.DataFrame:
    """Sort by rank; without ranks, or for several runs, by metrics, then by name."""
    scores = [name for name in figure_names() if name in table]
    if "best_value" in table:
        merit = table["best_value"].where(table["best_mode"] != "min", -table["best_value"])
        table, scores = table.assign(**{MERIT: merit}), [*scores, MERIT]
    if not scores:
        return table
    rank = ["rank"] if "rank" in table and "source" not in table else []
    loss = ["val_loss"] if "val_loss" in table else []
    by = [*rank, *scores, *loss, "experiment_name"]
    ordered = table.sort_values(by, ascending=[n not in scores for n in by], ignore_index=True)
    return ordered.drop(columns=MERIT, errors="ignore")
