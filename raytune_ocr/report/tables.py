"""Write the tables of a report as CSV and Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from raytune_ocr.errors import RaytuneOCRError
from raytune_ocr.files import replacing
from raytune_ocr.results import analysis
from raytune_ocr.results.document import read_document
from raytune_ocr.results.importance import importance, varied
from raytune_ocr.results.tables import load_results, write_csv

USED = {
    "seconds": "sum",
    "images_per_second": "median",
    "memory_mb": "max",
    "cpu_percent": "mean",
    "gpu_memory_mb": "max",
}
"""Resources of an epoch, and how a trial's epochs are put together."""


def write_report_tables(source: Path, folder: Path, reader: Mapping[str, Any]) -> None:
    """Write the tables of a run; those that its results have no data for are left out.

    Args:
        reader: from `dashboard.reader`, of its best reader.
    """
    for name, make in TABLES.items():
        try:
            table = make(source)
        except RaytuneOCRError:
            continue
        write_table(folder, name, table)
    if "misread" in reader:
        write_table(folder, "misread", _misread(reader))
        write_table(folder, "reliability", _reliability(reader["calibration"]))


def write_comparison(sources: Sequence[Path], folder: Path) -> None:
    """Write `runs`, a row a run; without results there is none."""
    try:
        table = analysis.compare(sources)
    except RaytuneOCRError:
        return
    write_table(folder, "runs", table)


def write_table(folder: Path, name: str, table: pd.DataFrame) -> None:
    """Write a table as CSV and Parquet, unless it has no rows."""
    if table.empty:
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / f"{name}.csv", table)
    as_text = [column for column in table if _has_no_kind(table[column])]
    with replacing(folder / f"{name}.parquet") as aside:
        table.astype(dict.fromkeys(as_text, str)).to_parquet(aside, index=False)


def _has_no_kind(column: pd.Series) -> bool:
    """Whether Parquet has no type for a column: mixed types, or mappings, which may be empty."""
    kinds = {type(value) for value in column.dropna()} if column.dtype == object else set()
    return len(kinds) > 1 or dict in kinds


def _settings(source: Path) -> pd.DataFrame:
    """Return the settings that differ, and the score, of trials that have one."""
    _, document = read_document(source)
    scores = [analysis.score_of(result) for result in document["all_results"]]
    table = varied(source).assign(score=scores)
    return table[table["score"].notna()]


def _confirmation(source: Path) -> pd.DataFrame:
    return analysis.confirmed(source)[0]


def _pareto(source: Path) -> pd.DataFrame:
    return analysis.pareto(load_results(source))


def _failures(source: Path) -> pd.DataFrame:
    table = load_results(source)
    return table if table.empty else analysis.failures(table)


def _resources(source: Path) -> pd.DataFrame:
    """Return a row a trial: total seconds, median images per second, peak memory, mean CPU."""
    curves = analysis.learning_curves(source)
    used = {name: how for name, how in USED.items() if name in curves}
    if curves.empty or not used:
        return pd.DataFrame()
    return curves.groupby("experiment_name", sort=False).agg(used).reset_index()


def _costs(source: Path) -> pd.DataFrame:
    """Return a row a preset, without columns of which nothing is known."""
    _, document = read_document(source)
    rows = (document.get("costs") or {}).get("presets") or []
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def _misread(reader: Mapping[str, Any]) -> pd.DataFrame:
    columns = ["image", "there", "read", "confidence"]
    return pd.DataFrame(reader["misread"], columns=columns)


def _reliability(calibration: Mapping[str, Any]) -> pd.DataFrame:
    kinds = {"before": "as it is", "after": "calibrated"}
    rows = [(kind, *row) for name, kind in kinds.items() for row in calibration[name]]
    return pd.DataFrame(rows, columns=["kind", "confidence", "right", "readings"])


TABLES: dict[str, Callable[[Path], pd.DataFrame]] = {
    "trials": load_results,
    "targets": analysis.targets_table,
    "held_out": analysis.held_out,
    "confirmation": _confirmation,
    "epochs": analysis.learning_curves,
    "settings": _settings,
    "importance": importance,
    "pareto": _pareto,
    "resources": _resources,
    "costs": _costs,
    "failures": _failures,
}
"""What makes each table from a run's results."""
