"""Record what trials and their study do: the journal, its copy in a storage, and the results."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from raytune_ocr.files import is_disk_full
from raytune_ocr.results.decision import Decision
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.execution.budget import Budget
from raytune_ocr.tune.execution.cleanup import copy_checkpoint, forget
from raytune_ocr.tune.execution.planning import clone_of, describe_clone, inherit
from raytune_ocr.tune.execution.recording.results_writer import ResultsWriter
from raytune_ocr.tune.storage.mirror import RunCopy

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Hears of each change of a trial after it is in the journal."""

    def note(self, record: TrialRecord) -> None:
        """A trial has changed, or is as it was."""


class Recorder:
    """Records each change of a trial before anything acts on it: the study's `Executor`.

    A full disk does not raise an error here, where Ray would take it for one of the trial: it is
    the `failure` that ends the run in order.

    Args:
        output_dir: the run's folder.
        copy: the run's copy in a storage.
        journal: of the run.
        writer: of the results JSON and the tables.
        budget: hears what trials cost.
        resuming: whether the folder's files are of an earlier part of this run.

    Attributes:
        observer: notes each change of a trial, if there is one.
        failure: an error that ends all trials, such as a full disk, or "".
    """

    def __init__(
        self,
        output_dir: Path,
        copy: RunCopy,
        journal: Journal,
        writer: ResultsWriter,
        budget: Budget,
        resuming: bool = False,
    ) -> None:
        self.output_dir = output_dir
        self.copy = copy
        self.journal = journal
        self.writer = writer
        self.budget = budget
        self.observer: Observer | None = None
        self.failure = ""
        self._resuming = resuming

    # The study's `Executor`

    def keep(self, decisions: Sequence[Decision], trial: TrialRecord | None = None) -> None:
        """Write decisions to the journal, with the latest report of `trial`."""
        if trial is not None:
            self.changed(trial, decisions)
            return
        with self.disk_full_ends_run():
            if self.journal.is_open:  # else they are written when it opens
                self.journal.append_decisions(decisions)
            else:
                self.journal.decisions += decisions

    def added(self, trial: TrialRecord) -> None:
        """Remove the files of an older trial with a new trial's name, and record the new one."""
        if self.journal.is_open or self._resuming:  # else `forget_old` does
            forget(self.output_dir, self.copy, [trial.name])
        self.changed(trial)

    def clone(
        self, parent: TrialRecord, decision: Decision, restored: TrialRecord | None = None
    ) -> TrialRecord:
        """Make a trial that continues from the parent's state with other settings."""
        child = restored or clone_of(parent, decision)
        forget(self.output_dir, self.copy, [child.name])
        with self.disk_full_ends_run():  # a resume makes a clone without epochs again
            copy_checkpoint(self.output_dir, self.copy, child)
            inherit(child, parent)
        logger.info("%s", describe_clone(child, decision))
        return child

    def changed(self, trial: TrialRecord, decisions: Sequence[Decision] = ()) -> None:
        """Append a trial's changes to the journal, and update the results if that is due."""
        if not self.journal.is_open:  # `Run.save_state` writes it when the journal opens
            return
        self.budget.note(trial)
        with self.disk_full_ends_run():
            self.journal.append(trial, decisions)
            if trial.is_finished:
                self.copy.pull_trial(trial.name)
        self.observe(trial)
        self.writer.note(trial)
        self.write_due()

    # Its files

    def observe(self, trial: TrialRecord) -> None:
        """Show a trial to the observer, if there is one."""
        if self.observer is not None:
            self.observer.note(trial)

    def write_due(self) -> None:
        """Update the results if that is due; the journal is always up to date."""
        with self.disk_full_ends_run():
            self.writer.write_due()
            self.copy.push()

    def fail(self, failure: str) -> None:
        """End the run in order, for an error that all trials would meet."""
        self.failure = self.failure or failure

    @contextmanager
    def disk_full_ends_run(self) -> Iterator[None]:
        """Take the error of a full disk as the run's failure; raise any other."""
        try:
            yield
        except OSError as error:
            if not is_disk_full(error):
                raise
            self.fail(str(error))
