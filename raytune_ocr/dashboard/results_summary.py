"""Read for the page what a results JSON has and the journal does not, or no longer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raytune_ocr.results.analysis import held_out
from raytune_ocr.results.journal_lines import finite
from raytune_ocr.results.replay import TrialState
from raytune_ocr.results.run_folders import why_gone
from raytune_ocr.tasks.registry import all_tasks

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


# Trials without a journal


def trial_of(result: Mapping[str, Any], rows: list[dict[str, Any]]) -> TrialState:
    """Return the trial of a result.

    Args:
        rows: its epochs.
    """
    return TrialState(
        status=result["status"],
        stop_reason=result.get("stop_reason") or "",
        error_message=result.get("error_message") or result.get("error") or "",
        epochs=rows,
        search=result.get("search") or "",
        sampled=result.get("sampled") or {},
        made_with=result.get("made_with") or {},
        config=config_of(result),
    )


def config_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a result, with its monitored metric."""
    metric, mode, _ = _judged_by(result)
    monitor = {"early_stopping_monitor": metric, "early_stopping_mode": mode} if metric else {}
    return {**monitor, **(result.get("config") or result.get("hyperparameters") or {})}


def outcome_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row of the page has of a result whose epochs are gone."""
    metric, _, value = _judged_by(result)
    return {
        "score": value if config_of(result).get("early_stopping_monitor") == metric else None,
        "best_epoch": result.get("best_epoch"),
        "epochs": result.get("total_epochs") or 0,
        "seconds": result.get("training_time") or 0,
    }


def _judged_by(result: Mapping[str, Any]) -> tuple[str, str | None, Any]:
    """Return the metric by which a trial is judged, its mode and its best value."""
    if result.get("best_metric"):
        return result["best_metric"], result.get("best_mode"), result.get("best_value")
    figures = (pair for task in all_tasks() for pair in task.figures.items())
    there = ((metric, None, result[key]) for key, metric in figures if result.get(key) is not None)
    return next(there, ("", None, None))
