"""Build, write and read the results JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch

from raytune_ocr.config.prices import Prices
from raytune_ocr.errors import DataLoaderError, DataNotFoundError
from raytune_ocr.files import replacing
from raytune_ocr.results.aggregate import MEETS, SYSTEM_METRICS, hyperparameters, trials_table
from raytune_ocr.results.cost import COST_COLUMNS, run_costs
from raytune_ocr.results.document_check import check_document, integer
from raytune_ocr.results.journal_lines import finite
from raytune_ocr.results.record import FINISHED, USED, TrialRecord
from raytune_ocr.tasks.registry import target_keys

if TYPE_CHECKING:
    import pandas as pd

BEST = ("best_metric", "best_value", "best_mode")
EPOCHS = ("best_epoch", "final_train_loss", "total_epochs", "train_time_per_epoch")
OPTIONAL = ("checkpoint_missing", *USED, "search", "parent", "parent_epoch", *COST_COLUMNS)
"""Keys of a result that only some trials have."""
RESULTS_COPY = "results.json"  # in the output folder, besides --results-file


def results_document(
    records: Sequence[TrialRecord],
    targets: Mapping[str, float],
    timestamp: str,
    *,
    table: pd.DataFrame | None = None,
    best: TrialRecord | None = None,
    confirmation: Mapping[str, Any] | None = None,
    held_out: Mapping[str, Mapping[str, Any]] | None = None,
    prices: Prices | None = None,
) -> dict[str, Any]:
    """Return the whole JSON, with the finished trials so far.

    Args:
        table: of these trials, by `trials_table` (default: it is computed).
        best: the winner (default: the trial of rank 1).
        confirmation: from `selection.confirmation`, if trials were confirmed.
        held_out: test metrics of trials by name.
        prices: of machines; the costs of `table` are computed with them.
    """
    table = trials_table(records, targets, prices=prices) if table is None else table
    costs = run_costs(table, records, prices)
    finished = table["status"].isin(FINISHED) & table["confirms"].isna()
    results = {
        result["experiment_name"]: {**result, **(held_out or {}).get(result["experiment_name"], {})}
        for result in results_of(records, table, targets, finished)
    }
    ranked = table.loc[table["rank"] == 1, "experiment_name"].tolist()
    names = [best.name] if best else ranked
    return {
        "timestamp": timestamp,
        "experiments_completed": sum(r["status"] == "completed" for r in results.values()),
        "best_result": results[names[0]] if names else None,
        "all_results": list(results.values()),
        "targets": dict(targets),
        "environment": environment(),
        **({"costs": costs} if costs else {}),
        **({"confirmation": dict(confirmation)} if confirmation else {}),
    }


def results_of(
    records: Sequence[TrialRecord],
    table: pd.DataFrame,
    targets: Mapping[str, float],
    chosen: pd.Series | None = None,
) -> list[dict[str, Any]]:
    """Return the JSON's entry of each trial, from the rows of the table.

    Args:
        table: of these trials, in their order.
        chosen: which rows (default: all).
    """
    some = table if chosen is None else table[chosen]
    plain = some.astype(object).where(some.notna(), None)
    rows = zip(plain.index, plain.to_dict("records"), strict=True)
    return [_result(records[place], row, targets) for place, row in rows]


def result_of(record: TrialRecord, targets: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Return the JSON's entry of one trial, whatever its status."""
    (result,) = results_of([record], trials_table([record], targets), targets or {})
    return result


def _result(
    record: TrialRecord, row: Mapping[str, Any], targets: Mapping[str, float]
) -> dict[str, Any]:
    """Return one entry of the JSON: figures from the table, settings from the record."""
    task, config = record.task, record.config.to_dict()
    first = ("experiment_name", "status", "stop_reason", "rank", "training_time", *task.figures)
    first += BEST
    keys = target_keys([task])
    result = {
        **{name: row[name] for name in (*first, *EPOCHS)},
        "metrics": {name: row[name] for name in record.columns},
        **{name: row[name] for name in ("model_parameters", *SYSTEM_METRICS)},
        "hyperparameters": hyperparameters(record),
        **{name: row[name] for name in ("seed", "checkpoint", *OPTIONAL) if row[name] is not None},
        "checkpoint": row["checkpoint"],
        "config": config,
        "error_message": record.error_message,
        "error_log": row["error_log"],
        "targets": {
            name: {"goal": goal, "value": row.get(keys.get(name, name)), "met": row[MEETS + name]}
            for name, goal in targets.items()
        },
    }
    made_with = {"made_with": dict(record.made_with)} if record.made_with else {}
    return result | made_with | ({"sampled": dict(record.sampled)} if record.search else {})


@cache
def environment() -> dict[str, Any]:
    """Return the versions and the machine of results."""
    return {
        **{package: version(package) for package in ("ray", "torch", "numpy", "pandas")},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu_count": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }


def write_json(
    path: str | os.PathLike[str], document: Mapping[str, Any], *, follow_links: bool = False
) -> None:
    """Write valid JSON atomically; see `replacing`."""
    with replacing(path, follow_links=follow_links) as aside:
        text = json.dumps(finite(document), indent=2, ensure_ascii=False, allow_nan=False)
        aside.write_text(text + "\n", encoding="utf-8")


def read_document(source: str | os.PathLike[str]) -> tuple[Path, dict[str, Any]]:
    """Read a results JSON, or that of a folder; return its path and its content without infinities.

    Raises:
        DataNotFoundError: there is none.
        DataLoaderError: it is not a results JSON.
    """
    path = Path(source)
    if _is_folder(path):
        path = _document_in(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataNotFoundError(f"{path}: no such results file") from None
    except (OSError, ValueError) as error:
        raise DataLoaderError(f"{path}: not a readable results file: {error}") from None
    try:
        document = finite(json.loads(text, parse_int=integer))
    except (ValueError, RecursionError) as error:
        raise DataLoaderError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(document, dict) or document.get("all_results") is None:
        raise DataLoaderError(f"{path}: must have all_results, a list of results")
    try:
        check_document(document)
    except ValueError as error:
        raise DataLoaderError(f"{path}: {error}") from None
    return path, document


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # too long, or with a NUL: not a folder
        return False


def _document_in(folder: Path) -> Path:
    """Return the results file of an output folder, or the newest results JSON of another folder."""
    if (folder / RESULTS_COPY).exists():
        return folder / RESULTS_COPY
    found = list(folder.glob("hyperparameter_tuning_results_*.json"))
    if not found:
        raise DataNotFoundError(
            f"{folder}: contains neither {RESULTS_COPY} nor hyperparameter_tuning_results_*.json"
        )
    return max(found, key=lambda path: path.stat().st_mtime)
