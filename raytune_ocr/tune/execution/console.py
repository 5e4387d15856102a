"""Console output: a live table, plain lines without a terminal, and the summary."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live

from raytune_ocr.results.aggregate import ranking
from raytune_ocr.results.cost import costs_in_words
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.text import printable
from raytune_ocr.tune.execution.recording.throttle import Throttle
from raytune_ocr.tune.execution.terminal.live_table import (
    figure,
    figures,
    heading,
    live_table,
    plain_line,
)
from raytune_ocr.tune.execution.terminal.notebook import NotebookOutput, html_table, in_notebook

CLOCK_SECONDS = 1.0  # after which the times of a table are old


class ProgressReport:
    """Shows the records while they change; if `quiet`, only the trials that failed.

    Args:
        begun: when the run began, by `time.monotonic`; None: now.

    Attributes:
        waiting: what trials wait for, in words, or "".
    """

    def __init__(
        self,
        records: Mapping[str, TrialRecord],
        quiet: bool = False,
        begun: float | None = None,
    ) -> None:
        self.records = records
        self.quiet = quiet
        self.waiting = ""
        # Bound now: while Ray runs, sys.stdout and sys.stderr point to a log file.
        self.console = Console(file=sys.stderr)
        self._lines = sys.stdout
        self._live: Live | None = None
        self._notebook: NotebookOutput | None = None
        self._printed: dict[str, tuple[str, int]] = {}
        self._throttle = Throttle(seconds=0.1)
        self._changed = False
        self._begun = time.monotonic() if begun is None else begun
        self._drawn = 0.0

    def __enter__(self) -> ProgressReport:
        if not self.quiet and in_notebook():
            self._notebook = NotebookOutput()
            self._draw()
        elif not self.quiet and self.console.is_terminal:
            self._live = Live(self._table(), console=self.console, auto_refresh=False)
            self._live.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._draw()
        if self._live is not None:
            self._live.__exit__(None, None, None)

    def update(self, record: TrialRecord) -> None:
        """Show that a record changed."""
        if self._live is not None or self._notebook is not None:
            self._changed = True
            self.refresh()
        elif not self.quiet or record.status == "failed":
            state = (record.status, len(record.epochs))
            if self._printed.get(record.name) != state:
                self._printed[record.name] = state
                lines = self.console.file if self.quiet else self._lines
                print(plain_line(record), file=lines, flush=True)

    def refresh(self) -> None:
        """Draw the table if something changed, at most ten times a second, and once a second."""
        due = self._changed or time.monotonic() - self._drawn > CLOCK_SECONDS
        if due and self._throttle.ready():
            with self._throttle.measured():
                self._draw()
            self._changed = False

    def say(self, text: str) -> None:
        """Print a line about the run."""
        text = printable(text)
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif not self.quiet:
            print(text, file=self._lines, flush=True)

    def warn(self, text: str) -> None:
        """Print a line about an error, even with `quiet`."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _draw(self) -> None:
        """Show the live table as it is now, where there is one."""
        self._drawn = time.monotonic()
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
        if self._notebook is not None:
            self._notebook.update(html_table(list(self.records.values()), self._heading()))

    def _table(self) -> Group:
        width, height = self.console.width, self.console.height
        return live_table(list(self.records.values()), width, height, self._heading())

    def _heading(self) -> str:
        elapsed = time.monotonic() - self._begun
        return heading(list(self.records.values()), elapsed, self.waiting)


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
            f"     {candidate['experiment_name']:<24} mean {figure(candidate['mean'])}  "
            f"std {figure(candidate['std'])}  95 % of the mean {figure(low)} to {figure(high)}"
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
        lines.append(f"  {label} {figure(best[name])}  95 % {figure(low)} to {figure(high)}")
    return lines
