"""What trials cost: hours of CPUs and GPUs, energy and money, and what early stopping saved.

The hours of an epoch are its time by what its trial had reserved. The start of a process and
epochs that were lost and trained again are not counted. A figure is NaN where one of the epochs
that it adds up does not have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raytune_ocr.config.prices import Prices

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from raytune_ocr.results.record import TrialRecord

SPENT = ("cpu_hours", "gpu_hours", "cpu_kwh", "gpu_kwh")
SAVED = ("saved_cpu_hours", "saved_gpu_hours")
COST, SAVED_COST = "money", "saved_money"
COST_COLUMNS = (*SPENT, COST, *SAVED, SAVED_COST)
STOPPED_EARLY = ("scheduler", "early_stopping")
HOUR = 3600.0


def spent(epochs: pd.DataFrame, trial: np.ndarray, first: Sequence[int]) -> pd.DataFrame:
    """Return a row a trial that has epochs, with the columns `SPENT`.

    Args:
        epochs: of several trials, float64.
        trial: the number of the trial of each row.
        first: by trial its first epoch; the epochs before it are its parent's, who has paid.
    """
    import numpy as np  # who only reads a journal does without

    costs = epochs.reindex(columns=["cpu_kwh", "gpu_kwh"])
    hours = epochs["seconds"] / HOUR
    costs["cpu_hours"], costs["gpu_hours"] = hours * epochs["cpus"], hours * epochs["gpus"]
    inherited = epochs["epoch"].to_numpy() < np.asarray(first)[trial]
    costs[inherited] = 0.0
    by_trial = costs.groupby(trial)
    return by_trial.sum()[list(SPENT)].where(by_trial.count().eq(by_trial.size(), axis=0))


def add_costs(table: pd.DataFrame, records: Sequence[TrialRecord], prices: Prices | None) -> None:
    """Add money, and what the epochs that were not trained would have cost.

    Args:
        table: of these trials, with the columns `SPENT`.
    """
    import numpy as np

    asked = np.array([record.max_epochs for record in records], dtype=float)
    inherited = np.array([record.parent_epoch for record in records], dtype=float)
    trained = table["total_epochs"].astype("float64")
    stopped = table["stop_reason"].isin(STOPPED_EARLY) & table["confirms"].isna()
    share = ((asked - trained) / (trained - inherited).where(trained > inherited)).clip(lower=0)
    for saved, spent_hours in zip(SAVED, SPENT, strict=False):
        table[saved] = (table[spent_hours] * share).where(stopped)
    for cost, hours in ((COST, SPENT[:2]), (SAVED_COST, SAVED)):
        cpu_hours, gpu_hours = (table[name] for name in hours)
        table[cost] = prices.of(cpu_hours, gpu_hours) if prices else float("nan")


def run_costs(
    table: pd.DataFrame, records: Sequence[TrialRecord], prices: Prices | None
) -> dict[str, Any] | None:
    """Return the costs of a run, of its presets, and the savings; None where nothing is known.

    Args:
        table: of these trials, by `trials_table`.
    """
    if not table["cpu_hours"].notna().any():
        return None
    searches = {record.name: record.search for record in records}
    preset = [
        record.search or searches.get(record.confirms) or record.confirms or record.name
        for record in records
    ]
    wanted = table[[*SPENT, COST]].astype("float64")
    by_preset = wanted.groupby(preset, sort=False).sum(min_count=1)
    trials = wanted.groupby(preset, sort=False).size()
    return {
        **_figures(wanted.sum(min_count=1)),
        "currency": prices.currency if prices else "",
        **_figures(table[[*SAVED, SAVED_COST]].astype("float64").sum(min_count=1)),
        "presets": [
            {"experiment_name": name, "trials": int(trials[name]), **_figures(row)}
            for name, row in by_preset.iterrows()
        ],
    }


def _figures(row: Mapping[Any, float] | pd.Series) -> dict[str, float | None]:
    return {str(name): None if value != value else float(value) for name, value in row.items()}


def money_of(record: TrialRecord, prices: Prices) -> float:
    """Return what the epochs of a trial have cost; those of unknown resources are left out."""
    hours = (
        (row["seconds"] / HOUR, row.get("cpus") or 0.0, row.get("gpus") or 0.0)
        for row in record.epochs
        if row["epoch"] > record.parent_epoch
    )
    return float(sum(prices.of(h * cpus, h * gpus) for h, cpus, gpus in hours))


def costs_in_words(costs: Mapping[str, Any]) -> str:
    """Return the costs of a run as a line of text."""
    prices = Prices(currency=costs.get("currency") or "")
    hours = f"{costs['cpu_hours']:.3g} CPU-hours, {costs['gpu_hours'] or 0:.3g} GPU-hours"
    kwh = [costs[name] for name in ("cpu_kwh", "gpu_kwh") if costs.get(name) is not None]
    parts = [hours, *([f"{sum(kwh):.3g} kWh"] if kwh else [])]
    if costs.get(COST) is not None:
        parts.append(prices.shown(costs[COST]))
    if costs.get(SAVED[0]) is None:
        return ", ".join(parts)
    saved = f"{costs[SAVED[0]]:.3g} CPU-hours, {costs[SAVED[1]] or 0:.3g} GPU-hours"
    money = "" if costs.get(SAVED_COST) is None else f", {prices.shown(costs[SAVED_COST])}"
    return f"{', '.join(parts)}; early stopping saved {saved}{money}"
