"""Estimate the importance of settings for the score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from raytune_ocr.results.analysis import Source, score_of
from raytune_ocr.results.document import read_document

ESTIMATOR = "absolute Spearman correlation (numbers), correlation ratio (others); 90 % bootstrap"


SKIPPED = ("experiment_name", "output_dir", "metadata_path", "changes")  # not settings


FEWEST_TRIALS = 5  # with fewer, an importance would be chance


RESAMPLES = 300


def varied(source: Source) -> pd.DataFrame:
    """Return the settings that differ between trials: a row per result, in the order of the JSON.

    Columns are dotted names of the config's fields, without names and paths. Values are those of
    the last epoch; missing if `when` left the setting out, or it had no effect.
    """
    _, document = read_document(source)
    results = document["all_results"]
    table = pd.DataFrame([_flat(_last_settings(result)) for result in results])
    idle = _idle(results)
    kept = {}
    for name in table.columns.difference(SKIPPED, sort=False):
        off = pd.Series([any(_is_part(name, n) for n in names) for names in idle], dtype=bool)
        if table[name][~off].astype(str).nunique(dropna=False) > 1:
            kept[name] = table[name].mask(off)
    return pd.DataFrame(kept, index=table.index)


def _idle(results: Sequence[dict[str, Any]]) -> list[set[str]]:
    """Return, by result, the sampled fields of its search that `when` left out of it."""
    sampled = [set(result.get("sampled") or {}) for result in results]
    of_search: dict[str, set[str]] = {}
    for result, names in zip(results, sampled, strict=True):
        if search := result.get("search"):
            of_search[search] = of_search.get(search, set()) | names
    return [
        of_search.get(result.get("search", ""), set()) - names
        for result, names in zip(results, sampled, strict=True)
    ]


def _is_part(name: str, of: str) -> bool:
    return name == of or name.startswith(f"{of}.")


def _last_settings(result: dict[str, Any]) -> dict[str, Any]:
    """Return a trial's settings at its end, after the `changes` of PBT."""
    settings = result.get("config") or result.get("hyperparameters", {})
    for change in settings.get("changes") or []:
        if change["after_epoch"] < (result.get("total_epochs") or 0):
            settings = settings | {k: v for k, v in change.items() if k != "after_epoch"}
    return settings


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = str(value) if isinstance(value, list) else value
    return flat


def importance(source: Source, seed: int = 0) -> pd.DataFrame:
    """Return how strongly each varied setting alone is associated with the score.

    It sees no interactions; settings that vary together share their importance.

    Returns:
        A row per setting, strongest first: `setting`, `importance` (0..1), `low` and `high` (5 and
        95 % of a bootstrap over trials), `chance` (95 % of shuffled scores: below it an importance
        means nothing), `trials`. No rows with fewer than `FEWEST_TRIALS`.
    """
    _, document = read_document(source)
    scores = pd.Series([score_of(result) for result in document["all_results"]], dtype=float)
    settings = varied(source)
    columns = ["setting", "importance", "low", "high", "chance", "trials"]
    rng = np.random.default_rng(seed)
    rows = []
    for name in settings:
        known = scores.notna() & settings[name].notna()
        if known.sum() >= FEWEST_TRIALS and settings[name][known].nunique() > 1:
            values, reached = settings[name][known], scores[known].to_numpy()
            rows.append([name, *_spread(_codes(values), reached, rng), int(known.sum())])
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("importance", ascending=False, ignore_index=True)


def _codes(values: pd.Series) -> tuple[np.ndarray, bool]:
    """Return numbers as they are, other values as categories; and whether they are numbers."""
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    if numeric:
        return values.to_numpy(dtype=float), True
    return np.unique(values.astype(str), return_inverse=True)[1], False


def _spread(
    codes: tuple[np.ndarray, bool], scores: np.ndarray, rng: np.random.Generator
) -> list[float]:
    values, numeric = codes
    strength = _rank_correlation if numeric else _correlation_ratio
    draws = rng.integers(0, len(scores), (RESAMPLES, len(scores)))
    again = [strength(values[draw], scores[draw]) for draw in draws]
    shuffled = [strength(values, rng.permutation(scores)) for _ in range(RESAMPLES)]
    low, high = np.quantile(again, [0.05, 0.95])
    return [strength(values, scores), float(low), float(high), float(np.quantile(shuffled, 0.95))]


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 0; ties get their mean rank."""
    _, kind, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[kind]


def _rank_correlation(values: np.ndarray, scores: np.ndarray) -> float:
    a, b = _ranks(values), _ranks(scores)
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(abs(np.corrcoef(a, b)[0, 1]))


def _correlation_ratio(kinds: np.ndarray, scores: np.ndarray) -> float:
    """Return the square root of the share of the ranks' variance between categories."""
    ranks = _ranks(scores)
    total = float(((ranks - ranks.mean()) ** 2).sum())
    groups = [ranks[kinds == kind] for kind in np.unique(kinds)]
    between = sum(len(g) * (g.mean() - ranks.mean()) ** 2 for g in groups)
    return float(np.sqrt(between / total)) if total else 0.0
