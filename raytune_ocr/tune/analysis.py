"""Tables that answer questions about runs: curves, the best, comparisons, importance, the front.

Nothing is drawn here. Accuracies go from 0 to 1, times are in seconds, epochs count from 1.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raytune_ocr.errors import DataNotFoundError
from raytune_ocr.tune.results import (
    CONFIRMING_EPOCHS_TABLE,
    EPOCH_COLUMNS,
    EPOCHS_TABLE,
    SCORES,
    best_first,
    load_results,
    read_document,
)
from raytune_ocr.tune.whereabouts import run_folders

if TYPE_CHECKING:
    import pandas as pd

Source = str | os.PathLike[str]
ESTIMATOR = "absolute Spearman correlation (numbers), correlation ratio (words); 90 % bootstrap"
SKIPPED = ("experiment_name", "output_dir", "metadata_path", "changes")  # no settings
FEWEST_TRIALS = 5  # below, an importance would be an accident
RESAMPLES = 300


def learning_curves(source: Source, confirming: bool = False) -> pd.DataFrame:
    """A row a trial and epoch, of trials that still run as well.

    Args:
        source: a results JSON or an output folder.
        confirming: also of the trials that trained the best ones again with other seeds.

    Returns:
        `experiment_name`, `epoch` (from 1), losses, accuracies (0..1), `learning_rate`, `seconds`
        (of the epoch), `memory_mb` (MiB) and the like; no rows where a run left no `epochs.csv`, or
        another run has taken its folder.

    Raises:
        DataNotFoundError: when there are no results.
    """
    import pandas as pd

    path, document = read_document(source)
    names = (EPOCHS_TABLE, CONFIRMING_EPOCHS_TABLE) if confirming else (EPOCHS_TABLE,)
    for folder in run_folders(path, document):
        files = [folder / name for name in names if (folder / name).exists()]
        if files:
            return pd.concat(map(read_epochs, files), ignore_index=True)
    return pd.DataFrame(columns=list(EPOCH_COLUMNS))


def read_epochs(file: Path) -> pd.DataFrame:
    """A table as it was written: figures to the last bit, and names such as 001 or null."""
    import pandas as pd

    return pd.read_csv(
        file,
        engine="python",  # the other one rounds
        dtype={"experiment_name": str},
        keep_default_na=False,
        na_values=[""],
    )


def score_name(table: pd.DataFrame) -> str:
    """The column that trials of `table` are ranked by.

    Raises:
        DataNotFoundError: when no trial has a score.
    """
    for name in SCORES:
        if name in table and table[name].notna().any():
            return name
    raise DataNotFoundError("no trial has a score: none was trained to the end of an epoch")


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Completed trials with a score, best first."""
    return best_first(table[(table["status"] == "completed") & table[score_name(table)].notna()])


def best(source: Source | Sequence[Source]) -> pd.Series:
    """The row of `load_results(source)` of the winner; of several runs, of the better winner.

    Raises:
        DataNotFoundError: when no trial completed.
    """
    table = load_results(source)
    if table.empty or not len(done := ranked(table)):
        raise DataNotFoundError(f"{source}: no trial completed, so there is no best one")
    if isinstance(source, (str, os.PathLike)):
        return done.loc[_place_of_winner(source, done)]
    of_run = {one: done[done["source"] == str(one)] for one in source}
    return done.loc[min(_place_of_winner(one, own) for one, own in of_run.items() if len(own))]


def winner_name(source: Source) -> str | None:
    """The trial that the run itself calls the best one: by confirmation or loss, if so asked."""
    _, document = read_document(source)
    result = document.get("best_result")
    return result.get("experiment_name") if isinstance(result, dict) else None


def _place_of_winner(source: Source, done: pd.DataFrame) -> int:
    """Of a ranking's rows of one run; the first where the run names none of them."""
    named = done.index[done["experiment_name"] == winner_name(source)]
    return int((named if len(named) else done.index)[0])


def compare(runs: Sequence[Source]) -> pd.DataFrame:
    """Runs side by side: a row a run, in the order given.

    Returns:
        `source`, `trials`, `completed`, `failed`, `best_trial`, `score` (name of the figure),
        `best_score` (of that trial in the search), `median_score` (0..1), `epochs`,
        `training_time` (seconds, of all trials; what heirs have of their parents counts once).
    """
    import pandas as pd

    return pd.DataFrame([_run_row(source) for source in runs])


def _run_row(source: Source) -> dict[str, Any]:
    table = load_results(source)
    statuses = list(table.get("status", []))
    epochs, seconds = (
        table[n].sum() if n in table else 0 for n in ("total_epochs", "training_time")
    )
    twice = _inherited(source, table)
    row = {
        "source": str(source),
        "trials": len(table),
        "completed": statuses.count("completed"),
        "failed": statuses.count("failed"),
        "best_trial": None,
        "score": None,
        "best_score": math.nan,
        "median_score": math.nan,
        "epochs": int(epochs - twice[0]),
        "training_time": float(seconds - twice[1]),
    }
    if row["completed"]:
        score, done = score_name(table), ranked(table)
        winner = done.loc[_place_of_winner(source, done)]
        row |= {"best_trial": winner["experiment_name"], "score": score}
        row |= {"best_score": winner[score], "median_score": done[score].median()}
    return row


def _inherited(source: Source, table: pd.DataFrame) -> tuple[float, float]:
    """Epochs that a population's heirs have of their parents, which trained them, and seconds."""
    if "parent_epoch" not in table:
        return 0, 0.0
    epochs = table.set_index("experiment_name")["parent_epoch"]
    curves = learning_curves(source)
    if curves.empty:  # as long as their others, then
        return epochs.sum(), (table["train_time_per_epoch"] * table["parent_epoch"]).sum()
    shared = curves["epoch"] <= curves["experiment_name"].map(epochs)
    return epochs.sum(), curves["seconds"][shared].sum()


def varied(source: Source) -> pd.DataFrame:
    """Settings that differ between trials: a row a result in the order of the JSON.

    Columns are dotted names of the config's fields; names and paths are left out, and `changes`:
    a setting is as it was in the last epoch; missing where it was left out, or had no effect.
    """
    import pandas as pd

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
    """Of each result what others of its search sampled and it did not: `when` left it out."""
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
    """What a trial was trained with at its end: a population's heir has its parent's until then."""
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
    """How strongly each varied setting goes together with the score, by itself.

    It sees no interactions, and settings that were varied together share their credit.

    Returns:
        A row a setting, strongest first: `setting`, `importance` (0..1), `low` and `high` (5 and
        95 % of a bootstrap over trials), `chance` (95 % of shuffled scores: below it an importance
        means nothing), `trials`. No rows with fewer than `FEWEST_TRIALS`.
    """
    import pandas as pd

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


def score_of(result: dict[str, Any]) -> float:
    """What a result is ranked by, 0 to 1; NaN when it has no score."""
    found = (result.get(name) for name in SCORES)
    return next((float(value) for value in found if value is not None), math.nan)


def _codes(values: pd.Series) -> tuple[np.ndarray, bool]:
    """Numbers as they are, anything else as the number of its kind; and whether it is a number."""
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
    """Ranks from 0, equals sharing the middle of theirs."""
    _, kind, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[kind]


def _rank_correlation(values: np.ndarray, scores: np.ndarray) -> float:
    a, b = _ranks(values), _ranks(scores)
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(abs(np.corrcoef(a, b)[0, 1]))


def _correlation_ratio(kinds: np.ndarray, scores: np.ndarray) -> float:
    """Square root of the share of the ranks' variance that lies between kinds."""
    ranks = _ranks(scores)
    total = float(((ranks - ranks.mean()) ** 2).sum())
    groups = [ranks[kinds == kind] for kind in np.unique(kinds)]
    between = sum(len(g) * (g.mean() - ranks.mean()) ** 2 for g in groups)
    return float(np.sqrt(between / total)) if total else 0.0


def pareto(table: pd.DataFrame, cost: str = "training_time") -> pd.DataFrame:
    """Completed trials by cost, with `on_front`: no cheaper trial is as good or better.

    Returns:
        `experiment_name`, `cost` (seconds), `score` (0..1), `on_front`.

    Raises:
        DataNotFoundError: when no trial has a score, or the results tell no cost.
    """
    if cost not in table:
        raise DataNotFoundError(f"The results do not tell {cost}.")
    done = ranked(table)
    found = done[["experiment_name", cost, score_name(table)]].dropna()
    found.columns = ["experiment_name", "cost", "score"]
    found = found.sort_values(["cost", "score"], ascending=[True, False], ignore_index=True)
    before = found["score"].cummax().shift(fill_value=-math.inf)
    return found.assign(on_front=found["score"] > before)


def failures(table: pd.DataFrame) -> pd.DataFrame:
    """`experiment_name` and `error_message` of failed trials."""
    if "error_message" not in table:
        table = table.assign(error_message="")
    failed = table[table["status"] == "failed"]
    return failed[["experiment_name", "error_message"]].reset_index(drop=True)


def targets_table(source: Source) -> pd.DataFrame:
    """A row a trial and target: `experiment_name`, `target`, `goal`, `value`, `met`."""
    import pandas as pd

    _, document = read_document(source)
    rows = [
        {"experiment_name": result["experiment_name"], "target": name, **target}
        for result in document["all_results"]
        for name, target in (result.get("targets") or {}).items()
    ]
    return pd.DataFrame(rows, columns=["experiment_name", "target", "goal", "value", "met"])


def unfinished(source: Source) -> list[tuple[str, int]]:
    """Trials without a result yet, and their last epoch, while a run goes on or was ended."""
    curves = learning_curves(source, confirming=True)
    _, document = read_document(source)
    confirming = (document.get("confirmation") or {}).get("results", [])
    done = {result["experiment_name"] for result in [*document["all_results"], *confirming]}
    left = curves[~curves["experiment_name"].isin(done)]
    return [(str(n), int(e)) for n, e in left.groupby("experiment_name")["epoch"].max().items()]


def confirmed(source: Source) -> tuple[pd.DataFrame, str]:
    """What the best trials reached with fresh seeds, and the verdict on the winner's lead.

    Returns:
        A row a trial and seed, best mean first: `experiment_name`, `metric`, `seed`, `score`, and
        of the trial `mean`, `std`, `low`, `high` (95 % bootstrap of the mean). No rows where
        nothing was confirmed, or nothing yet; the verdict is "" where nothing was begun.
    """
    import pandas as pd

    _, document = read_document(source)
    told = document.get("confirmation") or {}
    columns = ["experiment_name", "metric", "seed", "score", "mean", "std", "low", "high"]
    rows = []
    for each in told.get("candidates", []):
        for seed, score in each["scores"].items():
            of_all = [each["mean"], each["std"], *each["interval"]]
            rows.append([each["experiment_name"], told["metric"], int(seed), score, *of_all])
    return pd.DataFrame(rows, columns=columns), told.get("verdict", "")


def held_out(source: Source) -> pd.DataFrame:
    """The winner's accuracies beside each other, validation and test.

    Returns:
        `experiment_name`, `split`, `accuracy` (char or seq), `value`, `low` and `high` (Wilson,
        95 %; from 0 to 1). No rows where the test split was not read.
    """
    import pandas as pd

    _, document = read_document(source)
    best = document.get("best_result") or {}
    columns = ["experiment_name", "split", "accuracy", "value", "low", "high"]
    rows = [
        [best["experiment_name"], split, kind, best[name], *best[f"{name}_interval"]]
        for kind in ("char", "seq")
        for split, name in (
            ("validation", f"best_val_{kind}_accuracy"),
            ("test", f"test_{kind}_accuracy"),
        )
        if best.get(f"{name}_interval")
    ]
    return pd.DataFrame(rows, columns=columns)
