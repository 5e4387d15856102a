"""Where a run left its tables, state and models, as its results JSON tells.

An output folder can be taken by another run later, and then holds nothing of the first one. Whose
it is, its `results.json` says: by the run's id, which a resume keeps; before there were any, by the
time when the run began.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from raytune_ocr.results.document import RESULTS_COPY


def run_folders(path: Path, document: Mapping[str, Any]) -> Iterator[Path]:
    """Output folders that may hold what the run left, the likeliest first.

    The one that its results JSON at `path` lies in, which may have been moved, then those that its
    configs name; none that another run has taken.
    """
    beside = [path.parent] if (path.parent / RESULTS_COPY).exists() else []
    for folder in [*beside, *_named(document)]:
        if not taken(folder, document):
            yield folder


def taken(folder: Path, document: Mapping[str, Any]) -> str:
    """That another run has taken an output folder, and the way out; "" where none has.

    A folder without a `results.json` is nobody else's.
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
        f"{folder} holds another run by now, begun {begun}, and what this one left there is gone; "
        f"name {folder} for that run (an --output-dir for each keeps both)"
    )


def why_gone(document: Mapping[str, Any]) -> str:
    """That the run's output folder has been taken by another one; "" where it has not."""
    return next(filter(None, (taken(folder, document) for folder in _named(document))), "")


def _named(document: Mapping[str, Any]) -> list[Path]:
    """Output folders that configs of the results name, each once."""
    configs = [result.get("config") or {} for result in document["all_results"]]
    names = [config["output_dir"] for config in configs if "output_dir" in config]
    return [Path(name) for name in dict.fromkeys(names)]
