"""One run: its trials, its budget, its journal and its results, without Ray.

Every epoch is in the journal, so that `--resume` works after anything that ends the driver.
"""

from __future__ import annotations

import datetime
import logging
import secrets
from collections import ChainMap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.aggregate import Aggregator
from raytune_ocr.results.decision import CONTINUE
from raytune_ocr.results.document import results_document
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.record import LIMITS, TARGET, TrialRecord
from raytune_ocr.results.replay import Replay
from raytune_ocr.results.steering.inbox import Inbox
from raytune_ocr.tasks.base import REPORTED
from raytune_ocr.tune.chosen_options import KEPT_OPTIONS, check_comparable
from raytune_ocr.tune.execution.budget import Budget, most_trials
from raytune_ocr.tune.execution.circumstances import MadeWith, note_code, note_data
from raytune_ocr.tune.execution.cleanup import fetch_models, forget, tidy
from raytune_ocr.tune.execution.earlier_run import (
    check_links,
    clear_folder,
    free_file,
    trusted_file,
)
from raytune_ocr.tune.execution.planning import record_of, scheduler_of, settle_scheduler
from raytune_ocr.tune.execution.recording.recorder import Recorder
from raytune_ocr.tune.execution.recording.results_writer import ResultsWriter
from raytune_ocr.tune.execution.steering.ordered_records import OrderedRecords
from raytune_ocr.tune.execution.steering.run_orders import RunOrders
from raytune_ocr.tune.execution.study import Study
from raytune_ocr.tune.execution.trial_errors import shown
from raytune_ocr.tune.options import TuneOptions
from raytune_ocr.tune.schedulers.base import epochs_of
from raytune_ocr.tune.search.plan import Plan
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.selection.confirmation import confirmation, confirming_records, winner
from raytune_ocr.tune.selection.test_split import figures_of, read_test_split
from raytune_ocr.tune.space.search_space import Space
from raytune_ocr.tune.storage.mirror import RunCopy

logger = logging.getLogger(__name__)


class Run:
    """The trials of a run in an output folder, and the files about them.

    Call `start`, then `report`, `changed` and `write_due` while trials train, then `end`.

    Args:
        output_dir: the run's folder.
        options: of the run.
        copy: the run's copy in a storage.
        timestamp: when the run began; "": when `start` is called.
        results_file: path of the JSON; None: a file with the timestamp in the working folder.

    Attributes:
        id: unique to the run; a resume keeps it.
        study: the search: its trials and the decisions about them.
        confirming: trials that train the best ones again with other seeds, by name.
        kept: finished trials of earlier parts of the run, of experiments that are left out now.
        records: all of these, by name.
        recorder: writes each change of a trial to the journal and the results.
        orders: carries out orders of users; the study's executor of them.
    """

    def __init__(
        self,
        output_dir: Path,
        options: TuneOptions,
        copy: RunCopy,
        timestamp: str = "",
        results_file: Path | None = None,
    ) -> None:
        self.output_dir = output_dir
        self.options = options
        self.copy = copy
        self._timestamp = timestamp
        self.timestamp = timestamp or _now()
        self.id = secrets.token_hex(8)
        self._results_file = results_file
        self.budget = Budget(options.time_budget, options.target, options.max_cost)
        self.orders = RunOrders(self)
        self._prepare(Space({}), KnownPoints(), resuming=False)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray pickles the objects of bound methods; nothing reads this one

    @property
    def results_file(self) -> Path:
        """Path of the results JSON."""
        default = f"hyperparameter_tuning_results_{self.timestamp}.json"
        return (self._results_file or Path(default)).absolute()

    # Its trials

    def start(self, space: Space, known: KnownPoints, resuming: bool) -> None:
        """Plan the trials of `space`, and load those of the run that is resumed.

        Raises:
            ConfigurationError: every trial is known already, the scheduler cannot compare the
                trials, or the resumed run does not match.
        """
        if not resuming:
            self.timestamp = self._timestamp or _now()
        self._prepare(space, known, resuming)
        replay = self.journal.read() if resuming else Replay()
        plan, study = self.study.plan, self.study
        study.add(plan.initial(replay.trials))
        study.add(plan.restored({n: (t.search, t.sampled) for n, t in replay.trials.items()}))
        self.orders.restore(replay.decisions)
        judged = self.possible(list(study.trials.values()))
        check_comparable(((r.search or r.name, r.config) for r in judged), self.options.scheduler)
        if resuming:
            self._resume(replay)
        self.budget.start(self.records.values())
        self.cut()  # if an earlier part has reached the target, the search is over
        if not (self.searching() or self.records or self.study.never_begun):
            raise ConfigurationError(f"--warm-start: {known.summary(space)}")

    def _prepare(self, space: Space, known: KnownPoints, resuming: bool) -> None:
        """Set the attributes that each start makes anew."""
        plan = Plan(space, self.options.search, known, self.options.max_trials, record_of)
        self.options = options = settle_scheduler(plan, self.options)
        self.targets, self.prices = space.targets, space.prices
        self.orders.records = OrderedRecords(str(self.output_dir), space)
        self.budget.prices = space.prices
        self.confirming: dict[str, TrialRecord] = {}
        self.kept: dict[str, TrialRecord] = {}
        self.made_with = MadeWith()
        self.records: ChainMap[str, TrialRecord] = ChainMap(self.confirming, self.kept)
        self.aggregator = Aggregator(self.records, self.targets, options.models_kept, self.prices)
        self.writer = ResultsWriter(
            self.output_dir, self.results_file, self.aggregator, self.document
        )
        self.journal = Journal(self.output_dir)
        self.recorder = Recorder(
            self.output_dir, self.copy, self.journal, self.writer, self.budget, resuming
        )
        scheduler = scheduler_of(plan, options)
        self.study: Study[TrialRecord] = Study(plan, scheduler, self.recorder, self.orders)
        self.records.maps.insert(1, self.study.trials)

    def _resume(self, replay: Replay) -> None:
        about = self.journal.load(self.study.trials)
        self.timestamp = about["timestamp"]
        self.id = about.get("id", self.id)  # version 0.1 had none at first
        if self._results_file is None:
            places = (self.output_dir.parent, Path.cwd())
            self._results_file = trusted_file(about["results_file"], places, self.results_file)
        self.writer.results_file = self.results_file
        self.kept |= self.journal.take_finished()
        self.made_with = MadeWith(self.records.values())
        if self.options.retry_failed:
            for record in self.study.trials.values():
                if record.failed:
                    record.retry()
        check_links(self.output_dir, self.records)
        self.study.replay(replay.decisions)
        begun = {n: t for n, t in self.study.trials.items() if n in replay.trials}
        added = {n: t for n, t in self.study.trials.items() if n not in replay.trials}
        self.study.scheduler.check_resume(begun, added)
        if self.kept:
            logger.info("--resume: keeps the finished trials: %s", ", ".join(self.kept))
        if left := self.journal.left_out:
            logger.warning("--resume: not in the config, stay unfinished: %s", ", ".join(left))

    def note_data(self, fingerprints: Mapping[str, str]) -> None:
        """Record hashes of the data by path; raise ConfigurationError if the data changed."""
        note_data(self.journal.facts, fingerprints)

    def note_code(self, fingerprints: Mapping[str, str]) -> None:
        """Record hashes of the source that trains, by name; warn if it was edited."""
        note_code(self.journal.facts, fingerprints)

    def next(self) -> list[TrialRecord]:
        """Return the trials to train now: the search's, and after it the confirming ones."""
        if not (self.recorder.failure or self.budget.reason):
            self.study.settle()  # an earlier part of the run may have ended before its decisions
        return ([] if self.budget.reason else self.searching()) or self.unconfirmed_records()

    def searching(self) -> list[TrialRecord]:
        """Return the search's unfinished trials, as far as they are known."""
        if not (self.study.unfinished or self.recorder.failure or self.budget.reason):
            self.study.is_over()  # adds a new trial if there is one
        return self.study.unfinished

    def next_trial(self) -> TrialRecord | None:
        """Return the search's next trial to train; None: none before another report."""
        with self.recorder.disk_full_ends_run():
            return self.study.ask()
        return None

    def unconfirmed_records(self) -> list[TrialRecord]:
        """Return the unfinished confirming trials; none before the search is over."""
        if self.recorder.failure or self.budget.reason in LIMITS or self.searching():
            return []
        made = self._made_to_confirm()
        new = {name: record for name, record in made.items() if name not in self.records}
        forget(self.output_dir, self.copy, set(new) - self.journal.take_up(new))
        self.confirming |= new
        return [self.records[name] for name in self.unconfirmed]

    def _made_to_confirm(self) -> dict[str, TrialRecord]:
        options = self.options
        return confirming_records(self.records.values(), options.confirm, options.confirm_seeds)

    def possible(self, unfinished: list[TrialRecord]) -> list[TrialRecord]:
        """Return these, and examples of all trials that may be added later."""
        return [*unfinished, *(self.study.plan.examples() if self.study.plan.adaptive else [])]

    @property
    def unfinished(self) -> list[str]:
        """Names of the trials that neither completed nor failed."""
        return [record.name for record in self.records.values() if not record.is_finished]

    @property
    def unconfirmed(self) -> list[str]:
        """Names of the confirming trials that are not over."""
        done = {record.name for record in self.records.values() if record.is_finished}
        return [name for name in self._made_to_confirm() if name not in done]

    @property
    def progress(self) -> int:
        """Grows with every epoch, and with every batch size that was halved."""
        records = self.records.values()
        return sum(len(r.epochs) + r.used.get("accumulation_used", 0) for r in records)

    # What trials report

    def report(self, record: TrialRecord, result: Mapping[str, Any]) -> str:
        """Record a report or the end of a trial; return CONTINUE, PAUSE or STOP."""
        restored = result.get("history")
        known = {} if restored is None else {row["epoch"]: row for row in record.epochs}
        history = [{REPORTED: result.get(REPORTED, ()), **row} for row in restored or ()]
        action = self._record_history(record, history, known)
        if action != CONTINUE:
            return action
        record.add(result, known.get(result.get("epoch")))
        if record.made_with:
            self.made_with.note(record.name, record.made_with)
        if result.get("error_message"):
            record.fail(shown(result["error_message"]), result["stop_reason"])
        elif result.get("stop_reason") and not _was_extended(record, result["stop_reason"]):
            record.complete(result["stop_reason"])
        if record.name in self.study.trials:
            if "epoch" in result:
                return self.study.report(record)
            self.study.end(record)
        self.recorder.changed(record)
        return CONTINUE

    def _record_history(
        self,
        record: TrialRecord,
        rows: Sequence[Mapping[str, Any]],
        known: Mapping[int, Mapping[str, Any]],
    ) -> str:
        """Record the earlier epochs of a trial that continues; return CONTINUE, PAUSE or STOP.

        The journal may lack the last ones, which an earlier driver did not write. The scheduler
        judges these as the reports that they were, so that no rung lacks a score.
        """
        for row in rows:
            record.add(row, known.get(row["epoch"]))
            if row["epoch"] > max(known, default=0) and record.name in self.study.trials:
                action = self.study.report(record)
                if action != CONTINUE:
                    return action
        return CONTINUE

    def lose(self, record: TrialRecord) -> None:
        """Mark a trial as pending after the loss of its process."""
        if not record.is_finished:
            record.status = "pending"
        self.recorder.changed(record)

    # Its end

    def cut(self) -> None:
        """End the trials of a spent budget; with the target reached, end the search.

        Raises:
            ExperimentFailedError: the disk is full.
        """
        unfinished = self.unfinished
        self.budget.cut(self.records.values())
        fetch_models(self.copy, [name for name in unfinished if self.records[name].is_finished])
        if self.budget.reason == TARGET:
            for record in self.study.unfinished:
                del self.study.trials[record.name]

    def end(self) -> None:
        """Read the test split, remove files that are not kept, and write the results."""
        self.save_state()
        for record in self.records.values():
            self.recorder.observe(record)
        searched = self.budget.reason not in LIMITS and not self.searching()
        if searched and not self.unconfirmed:
            best = winner(list(self.records.values()))
            read_test_split(self.journal, best, self.options.allow_outside)
        tidy(self.output_dir, self.copy, self.records.values(), self.options.models_kept)
        self.save_results()
        if never := self.study.never_begun:
            number = len(never) + len(self.study.trials)
            logger.info("%d of %d trials were stopped before they began", len(never), number)
        self.journal.close()
        self.copy.push(now=True)

    @property
    def ended_by(self) -> str:
        """Why the run ended before its last trial, in words; "" if it did not."""
        left = self.unfinished
        if self.budget.reason not in LIMITS and (left or self.unconfirmed):
            return ""
        size, begun = self.study.plan.size, len(self.study.trials)
        return self.budget.ended_by(len(left)) or most_trials(self.options.max_trials, begun, size)

    # Its files

    def write_finished(self) -> None:
        """Write the JSON if it lacks a finished trial."""
        if not self.recorder.failure:
            self.writer.write_finished()

    def save_results(self) -> None:
        """Write the JSON and the tables as they stand."""
        self.writer.write_all()

    def document(self) -> dict[str, Any]:
        """Return the content of the results JSON."""
        records, table = list(self.records.values()), self.aggregator.table()
        document = results_document(
            records,
            self.targets,
            self.timestamp,
            table=table,
            best=winner(records, table),
            confirmation=confirmation(records, self.targets),
            held_out=figures_of(self.journal),
            prices=self.prices,
        )
        return {**document, "run_id": self.id}

    def save_state(self) -> None:
        """Rewrite the journal, and open it for further entries."""
        about = {
            "id": self.id,
            "timestamp": self.timestamp,
            "results_file": str(self.results_file),
            **{name: getattr(self.options, name) for name in KEPT_OPTIONS},
        }
        self.journal.rewrite({**self.records, **self.study.orders.withdrawn}, about)

    def forget_old(self) -> None:
        """Remove or set aside an earlier run in the folder, before a new one starts."""
        overwrite = self.options.overwrite
        Inbox(self.output_dir).clear()  # they were given to an earlier run
        clear_folder(self.output_dir, self.copy, self.journal, self.records, overwrite)
        if self._results_file is None:
            self._results_file = free_file(self.results_file)
            self.writer.results_file = self.results_file


def _was_extended(record: TrialRecord, stop_reason: str) -> bool:
    """Whether a trial has reached the last epoch that it had before an order extended it."""
    return stop_reason == "max_epochs" and epochs_of(record) < record.max_epochs


def _now() -> str:
    return datetime.datetime.now().strftime("%Y%m%d_%H%M%S")
