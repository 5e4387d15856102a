"""The results JSON: how it is built, written and read."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_ocr.errors import DataLoaderError, DataNotFoundError
from raytune_ocr.files import replacing

if TYPE_CHECKING:
    pass
from raytune_ocr.results.journal_lines import finite
from raytune_ocr.results.record import FINISHED, TrialRecord, ranking

RESULTS_COPY = "results.json"  # in the output folder, besides the file that was asked for


def results_document(
    records: Sequence[TrialRecord],
    targets: Mapping[str, float],
    timestamp: str,
    *,
    best: TrialRecord | None = None,
    confirmation: Mapping[str, Any] | None = None,
    held_out: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """The whole JSON, of what is finished so far.

    Args:
        best: the winner (default: the first of the ranking).
        confirmation: what `confirm.confirmation` says, if anything was confirmed.
        held_out: further figures of trials by name, read once from the test split.
    """
    best = best or next(iter(ranking(records)), None)
    searched = [record for record in records if not record.confirms]

    def result(record: TrialRecord) -> dict[str, Any]:
        return {**record.to_result(targets), **(held_out or {}).get(record.name, {})}

    return {
        "timestamp": timestamp,
        "experiments_completed": sum(r.status == "completed" for r in searched),
        "best_result": result(best) if best else None,
        "all_results": [result(record) for record in searched if record.status in FINISHED],
        "targets": dict(targets),
        "environment": environment(),
        **({"confirmation": dict(confirmation)} if confirmation else {}),
    }


@cache
def environment() -> dict[str, Any]:
    """Versions and the machine that results were made with."""
    from importlib.metadata import version

    import psutil
    import torch

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
    """Valid JSON, aside and then in place; see `replacing`."""
    with replacing(path, follow_links=follow_links) as aside:
        text = json.dumps(finite(document), indent=2, ensure_ascii=False, allow_nan=False)
        aside.write_text(text + "\n", encoding="utf-8")


def read_document(source: str | os.PathLike[str]) -> tuple[Path, dict[str, Any]]:
    """A results JSON or the one in a folder: its path, and what it holds, infinities gone.

    Raises:
        DataNotFoundError: when there is none.
        DataLoaderError: when it is no results JSON.
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
        document = finite(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise DataLoaderError(f"{path}: not valid JSON: {error}") from None
    results = document.get("all_results") if isinstance(document, dict) else None
    if isinstance(results, list) and all(map(_is_result, results)):
        return path, document
    raise DataLoaderError(
        f"{path}: must hold all_results, a list of results with hyperparameters each"
    )


def _is_result(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("hyperparameters", {}), dict)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # too long, or a NUL in it: no folder
        return False


def _document_in(folder: Path) -> Path:
    """The results in an output folder, or the newest results JSON in another one."""
    if (folder / RESULTS_COPY).exists():
        return folder / RESULTS_COPY
    found = list(folder.glob("hyperparameter_tuning_results_*.json"))
    if not found:
        raise DataNotFoundError(
            f"{folder}: holds neither {RESULTS_COPY} nor hyperparameter_tuning_results_*.json"
        )
    return max(found, key=lambda path: path.stat().st_mtime)
