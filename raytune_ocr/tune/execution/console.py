"""Console output: a live table, plain lines without a terminal, and the summary."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from raytune_ocr.progress import clock
from raytune_ocr.results.aggregate import ranking
from raytune_ocr.results.cost import costs_in_words
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.execution.throttle import Throttle


class ProgressReport:
    """Shows the records while they change; if `quiet`, only the trials that failed."""

    def __init__(self, records: Mapping[str, TrialRecord], quiet: bool = False) -> None:
        self.records = records
        self.quiet = quiet
        # Bound now: while Ray runs, sys.stdout and sys.stderr point to a log file.
        self.console = Console(file=sys.stderr)
        self._lines = sys.stdout
        self._live: Live | None = None
        self._printed: dict[str, tuple[str, int]] = {}
        self._throttle = Throttle(seconds=0.1)
        self._changed = False

    def __enter__(self) -> ProgressReport:
        if not self.quiet and self.console.is_terminal:
            self._live = Live(self._table(), console=self.console, auto_refresh=False)
            self._live.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
            self._live.__exit__(None, None, None)

    def update(self, record: TrialRecord) -> None:
        """Show that a record changed."""
        if self._live is not None:
            self._changed = True
            self.refresh()
        elif not self.quiet or record.status == "failed":
            state = (record.status, len(record.epochs))
            if self._printed.get(record.name) != state:
                self._printed[record.name] = state
                lines = self.console.file if self.quiet else self._lines
                print(plain_line(record), file=lines, flush=True)

    def refresh(self) -> None:
        """Draw the table if something changed, at most ten times a second."""
        if self._live is not None and self._changed and self._throttle.ready():
            with self._throttle.measured():
                self._live.update(self._table(), refresh=True)
            self._changed = False

    def say(self, text: str) -> None:
        """Print a line about the run."""
        if self._live is not None:
            self._live.console.print(text)
        elif not self.quiet:
            print(text, file=self._lines, flush=True)

    def warn(self, text: str) -> None:
        """Print a line about an error, even with `quiet`."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _table(self) -> Table:
        records = visible(list(self.records.values()), self.console.height - 3)
        labels = list(epoch_figures(records[0], {}))
        columns = ("preset", "epoch", *labels, "best", "state", "left")
        table = Table(*columns, box=None, pad_edge=False)
        for record in records:
            table.add_row(*cells(record, labels))
        if more := len(self.records) - len(records):
            table.add_row(f"and {more} more")
        return table


def visible(records: Sequence[TrialRecord], lines: int) -> Sequence[TrialRecord]:
    """Return as many records as fit: running ones first, pending ones last."""
    if len(records) <= lines:
        return records
    order = {"running": 0, "failed": 1, "completed": 2, "pending": 3}
    first = sorted(records, key=lambda record: order[record.status])[: max(1, lines - 1)]
    chosen = {record.name for record in first}
    return [record for record in records if record.name in chosen]


def figures(record: TrialRecord, row: Mapping[str, Any]) -> dict[str, str]:
    """Return the metrics of an epoch that its task shows, by label."""
    shown = record.task.shown(record.config)
    return {label: _figure(row.get(name)) for label, name in shown.items()}


def epoch_figures(record: TrialRecord, row: Mapping[str, Any]) -> dict[str, str]:
    """Return the training loss and the metrics of an epoch, by label.

    A training function of the user need not report a loss.
    """
    has_loss = "train_loss" in row or not record.config.trainable
    loss = {"loss": _figure(row.get("train_loss"))} if has_loss else {}
    return {**loss, **figures(record, row)}


def cells(record: TrialRecord, labels: Sequence[str]) -> list[str]:
    """Return a trial's row of the live table, with the metrics of these labels."""
    last = epoch_figures(record, record.epochs[-1] if record.epochs else {})
    values = [last.get(label, "-") for label in labels]
    best = next(iter(figures(record, record.best).values()))
    return [record.name, epoch_of(record), *values, best, state_of(record), time_left(record)]


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


def _figure(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def summary(
    records: Iterable[TrialRecord],
    paths: Sequence[tuple[str, str]],
    document: Mapping[str, Any],
) -> str:
    """Return the ranking, stop reasons, targets and paths as text.

    Args:
        document: the results JSON of these trials.
    """
    records = list(records)
    best = document["best_result"] or {}
    lines = [
        *("", "Ranking (validation)"),
        *(_ranked_lines(records) or ["  no trial completed"]),
        *_not_completed(records, document["all_results"]),
        *_confirmed(document.get("confirmation")),
        *_test_lines(best),
        *_target_lines(best),
        *_removed_models(document["all_results"]),
        *([f"Cost: {costs_in_words(costs)}"] if (costs := document.get("costs")) else []),
    ]
    lines.extend(f"{label:<16} {path}" for label, path in paths)
    return "\n".join(lines)


def _ranked_lines(records: Sequence[TrialRecord]) -> list[str]:
    lines = []
    for place, record in enumerate(ranking(records), 1):
        best = record.best
        values = "  ".join(f"{label} {value}" for label, value in figures(record, best).items())
        lines.append(
            f"{place:>3}. {record.name:<24} {values}  epoch {best['epoch']} of "
            f"{len(record.epochs)}  {record.stop_reason}"
        )
    return lines


def _not_completed(
    records: Iterable[TrialRecord], results: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Return lines for failed trials, with their traceback files, and for unfinished ones."""
    logs = {result["experiment_name"]: result["error_log"] for result in results}
    lines = []
    for record in records:
        after = f"{record.name} after {len(record.epochs)} epochs"
        if record.status == "failed":
            log = logs.get(record.name)
            lines.append(f"  failed: {after}: {record.error_message}")
            lines.extend([f"          traceback in {log}"] if log else [])
        elif record.status != "completed":
            lines.append(f"  unfinished: {after}")
    return lines


def _target_lines(best: Mapping[str, Any]) -> list[str]:
    compared = best.get("targets") or {}
    lines = [f"Targets of {best['experiment_name']}"] if compared else []
    for name, row in compared.items():
        verdict = "met" if row["met"] else "not met"
        value = "-" if row["value"] is None else f"{row['value']:.4g}"
        lines.append(f"  {name:<24} goal {row['goal']:g}  value {value}  {verdict}")
    return lines


def _removed_models(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return how many models were removed, by reason."""
    reasons = Counter(result.get("checkpoint_missing", "") for result in results)
    removed = {why: number for why, number in reasons.items() if why.startswith("removed")}
    return [
        f"Model of {number} trial{'s' if number > 1 else ''} {why}"
        for why, number in removed.items()
    ]


def _confirmed(confirmation: Mapping[str, Any] | None) -> list[str]:
    if confirmation is None:
        return []
    seeds = ", ".join(map(str, confirmation["seeds"]))
    lines = [f"Confirmed with the seeds {seeds} ({confirmation['metric']})"]
    for candidate in confirmation["candidates"]:
        low, high = candidate["interval"] or (None, None)
        lines.append(
            f"     {candidate['experiment_name']:<24} mean {_figure(candidate['mean'])}  "
            f"std {_figure(candidate['std'])}  95 % of the mean {_figure(low)} to {_figure(high)}"
        )
    return [*lines, f"  {confirmation['verdict']}"]


def _test_lines(best: Mapping[str, Any]) -> list[str]:
    """Return a line for each metric of the test split that has an interval."""
    found = [name for name in best if name.startswith("test_") and f"{name}_interval" in best]
    if not found:
        return []
    images = f" ({best['test_images']} images)" if "test_images" in best else ""
    lines = [f"Test split, read for {best['experiment_name']} alone{images}"]
    for name in found:
        low, high = best[f"{name}_interval"]
        label = name.removeprefix("test_").removesuffix("_accuracy")
        lines.append(f"  {label} {_figure(best[name])}  95 % {_figure(low)} to {_figure(high)}")
    return lines
