"""Estimate the importance of settings for the page: ours, and fANOVA."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from raytune_ocr.errors import RaytuneOCRError
from raytune_ocr.results.importance import ESTIMATOR, FEWEST_TRIALS, importance
from raytune_ocr.results.journal_lines import finite

FORESTS = 5  # of fANOVA, each with another seed
TREES = 32
MOST_OF_FOREST = 500  # trials: its time grows faster than their number
LOG_FROM = 50  # the ratio of the largest to the smallest value, from which the scale is a log
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
    try:
        ours = importance(source)
    except RaytuneOCRError as error:
        return {"ours": [], "fanova": [], "note": str(error), "estimator": ESTIMATOR}
    fanova, note = fanova_of(document) if len(ours) else ([], FEW)
    return {
        "ours": finite(ours.to_dict("records")),
        "fanova": fanova,
        "note": note,
        "estimator": ESTIMATOR,
    }


def fanova_of(document: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """Return fANOVA's importance of each setting, and why there is none."""
    try:
        import optuna
        import sklearn  # noqa: F401, which Optuna needs for fANOVA alone
        from optuna.importance import FanovaImportanceEvaluator
    except ImportError:
        return [], "fANOVA needs Optuna and scikit-learn: pip install 'raytune-ocr[optuna]'"
    rows, drawn = _complete_rows(document)
    if len(rows) < FEWEST_TRIALS or not drawn:
        return [], FEW
    if len({row["score"] for row in rows}) == 1:
        return [], "All trials have the same score."
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="minimize" if document["mode"] == "min" else "maximize")
    kinds = {name: _distribution([row[name] for row in rows]) for name in drawn}
    numeric = {n for n in drawn if all(_is_number(row[n]) for row in rows)}
    for row in rows:
        values = {n: float(row[n]) if n in numeric else str(row[n]) for n in drawn}
        study.add_trial(
            optuna.trial.create_trial(params=values, distributions=kinds, value=row["score"])
        )
    found = [
        optuna.importance.get_param_importances(
            study, evaluator=FanovaImportanceEvaluator(n_trees=TREES, seed=seed)
        )
        for seed in range(FORESTS)
    ]
    return [_spread(name, [each.get(name, 0.0) for each in found]) for name in found[0]], ""


def _complete_rows(document: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the trials that have a score and every setting, and the settings that differ."""
    names = [each["id"] for each in document["columns"]]
    drawn = [each["id"] for each in document["columns"] if each["kind"] == "setting"]
    rows = [dict(zip(names, row, strict=True)) for row in document["trials"]]
    whole = [r for r in rows if r["score"] is not None and all(r[n] is not None for n in drawn)]
    if len(whole) > MOST_OF_FOREST:
        whole = random.Random(0).sample(whole, MOST_OF_FOREST)
    return whole, [name for name in drawn if len({str(row[name]) for row in whole}) > 1]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _distribution(values: list[Any]) -> Any:
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
