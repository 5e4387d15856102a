"""Write the results JSON and the tables during a run, within a bounded share of its time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from raytune_ocr.results.aggregate import Aggregator
from raytune_ocr.results.document import RESULTS_COPY, write_json
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.results.tables import write_tables
from raytune_ocr.tune.execution.recording.throttle import Throttle

TABLES_SECONDS = 1.0  # at least, between two writes of the tables


class ResultsWriter:
    """Writes the JSON after a trial finishes, and the tables each second.

    Both grow with the run, so each takes at most a twentieth of its time: if a write takes a
    second, the files are at most twenty seconds old.

    Args:
        folder: the run's folder, for the tables and a copy of the JSON.
        results_file: path of the JSON.
        aggregator: makes the trials table.
        document: returns the content of the JSON.
    """

    def __init__(
        self,
        folder: Path,
        results_file: Path,
        aggregator: Aggregator,
        document: Callable[[], dict[str, Any]],
    ) -> None:
        self.folder = folder
        self.results_file = results_file
        self.aggregator = aggregator
        self.document = document
        self._document_throttle = Throttle()
        self._tables_throttle = Throttle(seconds=TABLES_SECONDS)
        self._document_due = self._tables_due = False

    def note(self, record: TrialRecord) -> None:
        """Note that a trial has changed."""
        self._tables_due = True
        self._document_due |= record.is_finished

    def write_due(self) -> None:
        """Write what has changed, if it is due."""
        if self._document_due and self._document_throttle.ready():
            self.write_all()
        elif self._tables_due and self._tables_throttle.ready():
            self._write_tables()

    def write_finished(self) -> None:
        """Write the JSON if it lacks a finished trial."""
        if self._document_due:
            self.write_all()

    def write_all(self) -> None:
        """Write the JSON and the tables."""
        with self._document_throttle.measured():
            document = self.document()
            write_json(self.results_file, document, follow_links=True)
            write_json(self.folder / RESULTS_COPY, document)
            self._write_tables()
        self._document_due = False

    def _write_tables(self) -> None:
        with self._tables_throttle.measured():
            made = self.aggregator
            write_tables(self.folder, list(made.records.values()), made.targets, made.table())
        self._tables_due = False
