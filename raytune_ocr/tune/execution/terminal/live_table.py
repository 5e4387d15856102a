"""Make the live table: the settings that differ, the metrics, the state and the time left.

A narrow terminal shows fewer columns: the trial, its epoch, its best value and its state stay.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from raytune_ocr.progress import clock
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.schedulers.base import best_score

GAP = 2  # characters between two columns
LOSS = "loss"
TAKEN = ("trial", "epoch", LOSS, "best", "state", "left")
"""Columns of every table; a parameter of such a name is shown by its whole one."""
NOT_SETTINGS = ("experiment_name", "output_dir", "changes", "num_epochs")
"""Fields of a config that are no settings of a trial, or have a column of their own."""


def live_table(records: Sequence[TrialRecord], width: int, height: int, heading: str) -> Group:
    """Return the heading and a row for each trial, as far as they fit."""
    shown = visible(records, height - 4)
    columns = columns_that_fit(shown, width)
    table = Table(*columns, box=None, pad_edge=False, show_edge=False)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, row))
    if more := len(records) - len(shown):
        table.add_row(f"and {more} more")
    return Group(Text(heading, overflow="fold"), table)


def columns_that_fit(records: Sequence[TrialRecord], width: int) -> dict[str, list[str]]:
    """Return the cells by column, in the order of the table.

    Columns are left out from the least to the most important one until the others fit.
    """
    configs = [flat(vars(record.config)) for record in records]
    settings = {
        (f"parameters.{n}" if n in TAKEN else n): [short(config.get(n, "-")) for config in configs]
        for n in differing(configs)
    }
    last = [epoch_figures(r, r.epochs[-1] if r.epochs else {}) for r in records]
    labels = dict.fromkeys(label for row in last for label in row if label not in settings)
    metrics = {label: [row.get(label, "-") for row in last] for label in labels}
    table = {
        "trial": [record.name for record in records],
        **settings,
        "epoch": [epoch_of(record) for record in records],
        **metrics,
        "best": [next(iter(figures(r, r.best).values())) for r in records],
        "state": [state_of(record) for record in records],
        "left": [time_left(record) for record in records],
    }
    optional = [LOSS, *reversed(labels), *reversed(settings), "left"]
    for name in optional:
        if _width(table) <= width:
            break
        table.pop(name, None)
    return table


def _width(table: Mapping[str, Sequence[str]]) -> int:
    return sum(max(map(len, (name, *cells))) + GAP for name, cells in table.items()) - GAP


def differing(configs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the settings that differ between trials; `configs` are flat."""
    values: dict[str, set[str]] = {}
    for config in configs:
        for name, value in config.items():
            values.setdefault(name, set()).add(repr(value))
    return [n for n, found in values.items() if len(found) > 1 and n not in NOT_SETTINGS]


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a config, parameters of one's own by their names."""
    parameters = config.get("parameters") or {}
    return {**{n: v for n, v in config.items() if n != "parameters"}, **parameters}


def short(value: Any) -> str:
    """Return a setting as text for a cell."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 20 else f"{text[:17]}..."


def heading(records: Sequence[TrialRecord], elapsed: float, waiting: str) -> str:
    """Return a line about the run: its best value, its time, and what waiting trials wait for."""
    parts = []
    best = max((r for r in records if r.epochs), key=best_score, default=None)
    if best is not None:
        ((label, value), *_) = figures(best, best.best).items()
        parts.append(f"best so far: {best.name} with {label} {value}")
    parts.append(f"elapsed {clock(elapsed)}")
    if left := run_time_left(records):
        parts.append(f"about {clock(left)} left")
    return "; ".join([*parts, *([waiting] if waiting else [])])


def waiting_words(records: Iterable[TrialRecord], why: str) -> str:
    """Return what trials wait for.

    Args:
        why: what the first queued trial waits for of Ray; "" if it is about to start.
    """
    states = Counter(record.status for record in records)
    running, words = states["running"], []
    if states["pending"] and (why or running):
        reason = f"the first one waits {why}" if why else f"{running} running trials have the slots"
        words.append(f"{states['pending']} queued: {reason}")
    if states["paused"]:
        words.append(
            f"{states['paused']} paused: until they are compared, or an order resumes them"
        )
    return "; ".join(words)


def run_time_left(records: Iterable[TrialRecord]) -> float:
    """Return the seconds that all trials need at the speed so far; 0: unknown."""
    records = list(records)
    seconds = [row["seconds"] for record in records for row in record.epochs]
    running = sum(record.status == "running" for record in records)
    if not (seconds and running):
        return 0.0
    left = sum(r.max_epochs - len(r.epochs) for r in records if not r.is_finished)
    return left * sum(seconds) / len(seconds) / running


def visible(records: Sequence[TrialRecord], lines: int) -> Sequence[TrialRecord]:
    """Return as many records as fit: running ones first, pending ones last."""
    if len(records) <= lines:
        return records
    order = {"running": 0, "paused": 1, "failed": 2, "completed": 3, "pending": 4}
    first = sorted(records, key=lambda record: order[record.status])[: max(1, lines - 1)]
    chosen = {record.name for record in first}
    return [record for record in records if record.name in chosen]


def figures(record: TrialRecord, row: Mapping[str, Any]) -> dict[str, str]:
    """Return the metrics of an epoch that its task shows, by label."""
    shown = record.task.shown(record.config)
    return {label: figure(row.get(name)) for label, name in shown.items()}


def epoch_figures(record: TrialRecord, row: Mapping[str, Any]) -> dict[str, str]:
    """Return the training loss and the metrics of an epoch, by label.

    A training function of the user need not report a loss.
    """
    has_loss = "train_loss" in row or not record.config.trainable
    loss = {LOSS: figure(row.get("train_loss"))} if has_loss else {}
    return {**loss, **figures(record, row)}


def epoch_of(record: TrialRecord) -> str:
    """Return the epochs done and their total."""
    done = record.epochs[-1]["epoch"] if record.epochs else 0
    return f"{done}/{record.config.num_epochs}"


def plain_line(record: TrialRecord) -> str:
    """Return a trial's state as one line of text."""
    last = record.epochs[-1] if record.epochs else {}
    line = "  ".join(f"{label} {value}" for label, value in epoch_figures(record, last).items())
    left = time_left(record)
    rest = f"  {left} left" if left else ""
    if record.error_message:
        rest = f": {record.error_message}"
    return f"{record.name:<24} epoch {epoch_of(record):<7} {line}  {state_of(record)}{rest}"


def state_of(record: TrialRecord) -> str:
    """Return the status and, if known, the stop reason."""
    return f"{record.status} ({record.stop_reason})" if record.stop_reason else record.status


def time_left(record: TrialRecord) -> str:
    """Return the longest time left, by the mean epoch so far; "" unless the trial runs."""
    if record.status != "running" or not record.epochs:
        return ""
    mean = sum(row["seconds"] for row in record.epochs) / len(record.epochs)
    return clock(mean * (record.config.num_epochs - record.epochs[-1]["epoch"]))


def figure(value: float | None) -> str:
    """Return a metric as text; "-" if there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"
