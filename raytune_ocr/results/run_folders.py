"""Find the tables, state and models of a run from its results JSON.

A later run may replace a run in its output folder. The folder's `results.json` identifies its run
by the id, which a resume keeps; in old files without ids, by the start time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from raytune_ocr.results.document import RESULTS_COPY


def run_folders(path: Path, document: Mapping[str, Any]) -> Iterator[Path]:
    """Return output folders that may have the run's files, the likeliest first.

    First the folder of its results JSON, which may have been moved, then those that its configs
    name; without folders of another run.
    """
    beside = [path.parent] if (path.parent / RESULTS_COPY).exists() else []
    for folder in [*beside, *_named(document)]:
        if not taken(folder, document):
            yield folder


def taken(folder: Path, document: Mapping[str, Any]) -> str:
    """Return a message if another run has replaced this one in a folder; "" if not.

    A folder without a `results.json` has no other run.
    """
    try:
        there = json.loads((folder / RESULTS_COPY).read_text(encoding="utf-8"))
        begun = there["timestamp"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    both = (there.get("run_id"), document.get("run_id"))
    one, other = both if all(both) else (begun, document.get("timestamp"))
    if one == other:
        return ""
    return (
        f"{folder} now has another run, started {begun}, which replaced the files of this run; to "
        f"use that run, pass {folder} (to keep both, use another --output-dir for each run)"
    )


def why_gone(document: Mapping[str, Any]) -> str:
    """Return a message if another run has replaced this one in its output folder; "" if not."""
    return next(filter(None, (taken(folder, document) for folder in _named(document))), "")


def _named(document: Mapping[str, Any]) -> list[Path]:
    """Return the output folders in the configs of the results, each once."""
    configs = [result.get("config") or {} for result in document["all_results"]]
    names = [config.get("output_dir") for config in configs]
    return [Path(name) for name in dict.fromkeys(n for n in names if isinstance(n, str))]
