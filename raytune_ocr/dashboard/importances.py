"""Estimate the importance of settings for the page: ours, and fANOVA."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from raytune_ocr.errors import DataNotFoundError, RaytuneOCRError
from raytune_ocr.results.importance import ESTIMATOR, FEWEST_TRIALS, importance
from raytune_ocr.results.journal_lines import finite

FORESTS = 5  # of fANOVA, each with another seed
TREES = 32
MOST_OF_FOREST = 200  # trials: its time grows faster than their number
LOG_FROM = 50  # the ratio of the largest to the smallest value, from which the scale is a log
UNFINISHED = "Our estimate appears when the run has written its results."
FEW = f"An estimate needs at least {FEWEST_TRIALS} trials with a score."


def importances(source: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Return our estimate of importance, and Optuna's fANOVA where Optuna is installed.

    Args:
        source: an output folder or a results JSON.
        document: of its snapshot.

    Returns:
        `ours`: `setting`, `importance`, `low`, `high`, `chance`; `fanova`: `setting`,
        `importance`, `low` and `high` over forests of other seeds; `note`: why one is missing.
    """
    ours, note = _ours(source)
    fanova, why = fanova_of(document) if ours or note else ([], FEW)
    return {
        "ours": ours,
        "fanova": finite(fanova),
        "note": " ".join(filter(None, [note, why])),
        "estimator": ESTIMATOR,
    }


def _ours(source: Path) -> tuple[list[dict[str, Any]], str]:
    """Return our estimate, and why there is none though there may be enough trials."""
    try:
        rows: list[dict[str, Any]] = finite(importance(source).to_dict("records"))
    except DataNotFoundError:
        return [], UNFINISHED
    except RaytuneOCRError as error:
        return [], str(error)
    return rows, ""


def fanova_of(document: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """Return fANOVA's importance of each setting, and why there is none."""
    try:
        import optuna  # noqa: F401
        import sklearn  # noqa: F401, which Optuna needs for fANOVA alone
    except ImportError:
        return [], "fANOVA needs Optuna and scikit-learn: pip install 'raytune-ocr[optuna]'"
    rows, drawn, partial = _scored_rows(document)
    without = f"fANOVA leaves out what some trials have no value of: {partial}." if partial else ""
    if len(rows) < FEWEST_TRIALS:
        return [], FEW
    if not drawn:
        return [], without or FEW
    if len({row["score"] for row in rows}) == 1:
        return [], "All trials have the same score."
    points = tuple((row["score"], *(row[name] for name in drawn)) for row in rows)
    try:
        found = _forests(document["mode"], tuple(drawn), points)
    except RuntimeError as error:  # Optuna's: no tree found any variance
        return [], f"fANOVA: {error}"
    return [_spread(name, values) for name, values in found.items()], without


@lru_cache(maxsize=8)
def _forests(mode: str, names: tuple[str, ...], points: tuple[Any, ...]) -> dict[str, list[float]]:
    """Return fANOVA's importance of each setting in forests of several seeds.

    Args:
        points: score and settings of each trial.
    """
    import optuna
    from optuna.importance import FanovaImportanceEvaluator

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="minimize" if mode == "min" else "maximize")
    columns = dict(zip(names, list(zip(*points, strict=True))[1:], strict=True))
    kinds = {name: _distribution(values) for name, values in columns.items()}
    read = {n: float if all(map(_is_number, values)) else str for n, values in columns.items()}
    for score, *values in points:
        params = {name: read[name](value) for name, value in zip(names, values, strict=True)}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=kinds, value=score))
    found = [
        optuna.importance.get_param_importances(
            study, evaluator=FanovaImportanceEvaluator(n_trees=TREES, seed=seed)
        )
        for seed in range(FORESTS)
    ]
    return {name: [each.get(name, 0.0) for each in found] for name in found[0]}


def _scored_rows(document: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str], str]:
    """Return the trials that have a score, the settings that differ and which all of them have.

    The third value names the settings that some have no value of, such as conditional ones.
    """
    names = [each["id"] for each in document["columns"]]
    drawn = [each["id"] for each in document["columns"] if each["kind"] == "setting"]
    every = [dict(zip(names, row, strict=True)) for row in document["trials"]]
    rows = [row for row in every if row["score"] is not None]
    if len(rows) > MOST_OF_FOREST:
        rows = random.Random(0).sample(rows, MOST_OF_FOREST)
    partial = [name for name in drawn if any(row[name] is None for row in rows)]
    whole = [name for name in drawn if name not in partial]
    differing = [name for name in whole if len({str(row[name]) for row in rows}) > 1]
    return rows, differing, ", ".join(name.removeprefix("settings.") for name in partial)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _distribution(values: Sequence[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if all(map(_is_number, values)):
        low, high = float(min(values)), float(max(values))
        return FloatDistribution(low, high, log=low > 0 and high / low > LOG_FROM)
    return CategoricalDistribution(sorted({str(value) for value in values}))


def _spread(name: str, values: list[float]) -> dict[str, Any]:
    return {
        "setting": name.removeprefix("settings."),
        "importance": sum(values) / len(values),
        "low": min(values),
        "high": max(values),
    }
