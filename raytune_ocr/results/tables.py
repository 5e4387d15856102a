"""Results as pandas tables: `trials.csv`, `epochs.csv` and `load_results`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_ocr.files import replacing

if TYPE_CHECKING:
    import pandas as pd
from raytune_ocr.results.document import read_document
from raytune_ocr.results.record import (
    CONFIRMING_EPOCHS_TABLE,
    CONFIRMING_TRIALS_TABLE,
    EPOCHS_TABLE,
    FIRST_COLUMNS,
    RUN_COLUMNS,
    TRIALS_TABLE,
    TrialRecord,
)
from raytune_ocr.tasks.registry import figure_names


def epochs_table(records: Iterable[TrialRecord]) -> pd.DataFrame:
    """A row a trial and epoch: the metrics that its task reports, and what the epoch cost."""
    import pandas as pd

    records = list(records)
    tasks = {record.task.name: record.task for record in records}
    reported = (name for task in tasks.values() for name in task.columns)
    columns = list(dict.fromkeys([*FIRST_COLUMNS, *reported, *RUN_COLUMNS]))
    rows = [row for record in records for row in record.epochs]
    present = {name for row in rows for name in row} or set(columns)
    return pd.DataFrame(rows, columns=[name for name in columns if name in present])


def results_table(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A row a result, hyper-parameters as columns of their own names."""
    import pandas as pd

    rows = []
    for result in results:
        flat = {k: v for k, v in result.items() if not isinstance(v, (dict, list))}
        flat.setdefault("error_message", result.get("error"))
        flat.pop("error", None)
        rows.append({**flat, **result.get("hyperparameters", {})})
    return pd.DataFrame(rows)


def write_tables(
    folder: Path, records: Sequence[TrialRecord], targets: Mapping[str, float]
) -> None:
    """`trials.csv` and `epochs.csv`; of trials that confirm others `confirmation_*.csv`."""
    for confirming, trials, epochs in (
        (False, TRIALS_TABLE, EPOCHS_TABLE),
        (True, CONFIRMING_TRIALS_TABLE, CONFIRMING_EPOCHS_TABLE),
    ):
        some = [record for record in records if bool(record.confirms) == confirming]
        if confirming and not some:
            continue
        results = results_table(record.to_result(targets) for record in some)
        for name, table in ((trials, results), (epochs, epochs_table(some))):
            with replacing(folder / name) as aside:
                table.to_csv(aside, index=False)


def load_results(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> pd.DataFrame:
    """Results as a table: a row a trial, best first.

    Args:
        source: a results JSON (also the original system's), an output folder, or a list of
            either; with several, a column `source` tells them apart.

    Returns:
        The JSON's figures and hyper-parameters by their own names: accuracies from 0 to 1, times
        in seconds. The original's `Infinity` becomes NaN, its `error` `error_message`.

    Raises:
        DataNotFoundError: when there is no such file, or a folder holds no results.
        DataLoaderError: when a file is no results JSON.
    """
    import pandas as pd

    if not isinstance(source, (str, os.PathLike)):
        tables = [load_results(one).assign(source=str(one)) for one in source]
        return best_first(pd.concat(tables, ignore_index=True)) if tables else pd.DataFrame()
    _, document = read_document(source)
    table = results_table(document["all_results"])
    for name in figure_names():
        if name in table:
            table[name] = pd.to_numeric(table[name], errors="coerce")
    return best_first(table)


def best_first(table: pd.DataFrame) -> pd.DataFrame:
    """By score, rows of equal ones in the order they had; as it is where there are no scores."""
    scores = [name for name in figure_names() if name in table]
    if not scores:
        return table
    return table.sort_values(scores, ascending=False, ignore_index=True, kind="stable")
