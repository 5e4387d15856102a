"""Compare runs in a table of text: what made each, what it reached, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raytune_ocr.config.metrics import score_of
from raytune_ocr.dashboard.snapshot import RunSnapshot
from raytune_ocr.text import printable

NO_VALUE = "-"
SUMS = ("epochs", "seconds", "cpu_hours", "gpu_hours")
NOT_COMPARED = ("format", "id", "timestamp", "results_file")
WIDEST = 60  # letters of a cell


def comparison(runs: Sequence[RunSnapshot]) -> str:
    """Return a row for each fact in which the runs differ, and a column a run."""
    columns = [facts_of(run.document()) for run in runs]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [[name, *(shown(column.get(name)) for column in columns)] for name in names]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    head = ["", *(run.name for run in runs)]
    same = len(rows) - len(differing)
    return "\n".join([*_aligned([head, *differing]), f"the same in all runs: {same} facts"])


def facts_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run is compared by."""
    names = [column["id"] for column in document["columns"]]
    trials = [dict(zip(names, row, strict=True)) for row in document["trials"]]
    scored = [trial for trial in trials if trial["score"] is not None]
    best = max(scored, key=lambda t: score_of(t["score"], document["mode"]), default={})
    settings = {**document["constants"], **{n: best.get(n) for n in names if _is_setting(n)}}
    made = (document["facts"].get("command") or [{}])[-1]
    return {
        f"best {document['metric']}": best.get("score"),
        "best trial": best.get("trial"),
        "trials": len(trials),
        **{name: sum(trial[name] or 0 for trial in trials) for name in SUMS},
        **{name: made.get(name) for name in ("command", "git_commit", "git_changes", "host")},
        **_hashes(document["facts"]),
        **{k: v for each in document["made_with"] for k, v in each.items()},
        **{n: v for n, v in document["about"].items() if n not in NOT_COMPARED},
        **{f"{name} (best trial)": value for name, value in settings.items()},
    }


def _is_setting(name: str) -> bool:
    return name.startswith("settings.")


def _hashes(facts: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for kind in ("data", "code"):
        for name, value in (facts.get(kind) or [{}])[-1].get("fingerprints", {}).items():
            found[f"{kind} {name}"] = value
    return found


def shown(value: Any) -> str:
    """Return a value as a cell of the table."""
    if value is None or value == "":
        return NO_VALUE
    text = f"{value:.6g}" if isinstance(value, float) else printable(str(value))
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
