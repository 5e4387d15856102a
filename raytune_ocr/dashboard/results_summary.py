"""Take from a results JSON what the journal does not have: costs, targets, confirmation, test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raytune_ocr.results.analysis import held_out
from raytune_ocr.results.journal_lines import finite
from raytune_ocr.results.run_folders import why_gone

KEPT = ("costs", "environment", "timestamp")
CANDIDATE = ("experiment_name", "mean", "std", "interval", "scores", "failed_seeds")


def results_summary(path: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a results JSON.

    Args:
        path: of the JSON.

    Returns:
        The JSON's `costs`, `environment` and `timestamp`; `targets`: a row each; `confirmation`:
        `metric`, `verdict` and `candidates`, best first; `held_out`: rows of the winner's metrics
        on validation and test; `gone`: why files of the run are not there, or "".
    """
    return {
        **{name: document[name] for name in KEPT if name in document},
        "targets": _targets(document),
        "confirmation": _confirmation(document.get("confirmation") or {}),
        "held_out": finite(held_out(path).to_dict("records")),
        "gone": why_gone(document),
    }


def _targets(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a target: `target`, `goal`, the winner's `value`, and how many trials `met` it."""
    results = [result.get("targets") or {} for result in document["all_results"]]
    best = (document.get("best_result") or {}).get("targets") or {}
    return [
        {
            "target": name,
            "goal": goal,
            "value": best.get(name, {}).get("value"),
            "met": sum(bool(targets.get(name, {}).get("met")) for targets in results),
            "trials": len(results),
        }
        for name, goal in (document.get("targets") or {}).items()
    ]


def _confirmation(found: Mapping[str, Any]) -> dict[str, Any]:
    """The candidates without the whole results of their trials; {} if nothing was confirmed."""
    if not found:
        return {}
    candidates = [{name: each.get(name) for name in CANDIDATE} for each in found["candidates"]]
    return {
        "metric": found["metric"],
        "verdict": found["verdict"],
        "candidates": finite(candidates),
    }
