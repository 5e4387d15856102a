"""One run: its trials, its budget, its journal and its results. Nothing of Ray here.

Every epoch is in the journal, so that the run goes on after anything that ends the driver.
"""

from __future__ import annotations

import datetime
import logging
import secrets
from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.files import is_disk_full
from raytune_ocr.results.aggregate import Aggregator
from raytune_ocr.results.decision import CONTINUE, Decision
from raytune_ocr.results.document import results_document
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.record import TARGET, TIME_BUDGET, TrialRecord
from raytune_ocr.results.replay import Replay
from raytune_ocr.tasks.base import REPORTED
from raytune_ocr.tune.execution.budget import Budget, most_trials
from raytune_ocr.tune.execution.circumstances import (
    CODE,
    DATA,
    MadeWith,
    check_data,
    warn_of_edited_code,
)
from raytune_ocr.tune.execution.cleanup import copy_checkpoint, forget, forget_confirmation, tidy
from raytune_ocr.tune.execution.earlier_run import EarlierRun, check_links, free_file, trusted_file
from raytune_ocr.tune.execution.planning import (
    clone_of,
    inherit,
    record_of,
    restore_clones,
    scheduler_of,
    settle_scheduler,
)
from raytune_ocr.tune.execution.results_writer import ResultsWriter
from raytune_ocr.tune.execution.study import Study
from raytune_ocr.tune.execution.trial_errors import disk_full, shown
from raytune_ocr.tune.options import KEPT_OPTIONS, TuneOptions, check_comparable
from raytune_ocr.tune.search.plan import Plan
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.selection.confirmation import confirmation, confirming_records, winner
from raytune_ocr.tune.selection.test_split import figures_of, read_test_split
from raytune_ocr.tune.space.search_space import Space
from raytune_ocr.tune.storage.mirror import RunCopy

logger = logging.getLogger(__name__)

TIME_FORMAT = "%Y%m%d_%H%M%S"


class Run:
    """The trials of a run in an output folder, and everything that is written of them.

    `start`, then `report`, `changed` and `write_due` as trials train, then `end`.

    Args:
        output_dir: the run's folder.
        options: of the run.
        copy: what is kept of it in a storage.
        timestamp: when it began; "": as it starts.
        results_file: where the JSON goes; None: a name of its own in the working folder.

    Attributes:
        id: tells it from any other run, and is kept over a resume.
        study: the search: its trials and what is decided on them.
        confirming: trials that train the best ones again with other seeds, by name.
        kept: finished trials of earlier parts of the run that are not asked for this time.
        records: all of these, by name.
        failure: what ended the run that no other trial would have escaped, a full disk, or "".
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
        self.budget = Budget(options.time_budget, options.target)
        self.failure = ""
        self._resuming = False
        self._prepare(Space({}), KnownPoints())

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray pickles what it is given methods of; nothing reads that

    @property
    def results_file(self) -> Path:
        """Where the JSON goes."""
        default = f"hyperparameter_tuning_results_{self.timestamp}.json"
        return (self._results_file or Path(default)).absolute()

    # Its trials

    def start(self, space: Space, known: KnownPoints, resuming: bool) -> None:
        """Plan the trials of `space`, and take up those of the run that is resumed.

        Raises:
            ConfigurationError: all is known already, trials that the scheduler cannot compare, or a
                resume that does not fit.
        """
        self.failure, self._resuming = "", resuming
        if not resuming:
            self.timestamp = self._timestamp or _now()
        self._prepare(space, known)
        replay = self.journal.read() if resuming else Replay()
        plan, study = self.study.plan, self.study
        study.add(plan.initial(replay.trials))
        study.add(plan.restored({n: (t.search, t.sampled) for n, t in replay.trials.items()}))
        restore_clones(study.trials, replay.decisions, self.journal.path.name)
        judged = self.possible(list(study.trials.values()))
        check_comparable(((r.search or r.name, r.config) for r in judged), self.options.scheduler)
        if resuming:
            self._resume(replay)
        self.budget.start(self.records.values())
        self.cut()  # where an earlier part has reached the target, the search is over
        if not (self.searching() or self.records):
            raise ConfigurationError(f"--warm-start: {known.told_of(space)}")

    def _prepare(self, space: Space, known: KnownPoints) -> None:
        """Everything that is new with each start."""
        plan = Plan(space, self.options.search, known, self.options.max_trials, record_of)
        self.options = options = settle_scheduler(plan, self.options)
        self.targets = space.targets
        self.journal = Journal(self.output_dir)
        self.study: Study[TrialRecord] = Study(plan, scheduler_of(plan, options), self)
        self.confirming: dict[str, TrialRecord] = {}
        self.kept: dict[str, TrialRecord] = {}
        self.made_with = MadeWith()
        self.records: MutableMapping[str, TrialRecord] = ChainMap(
            self.confirming, self.study.trials, self.kept
        )
        self.aggregator = Aggregator(self.records, self.targets, options.models_kept)
        self.writer = ResultsWriter(
            self.output_dir, self.results_file, self.aggregator, self.document
        )

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
            logger.info("--resume: kept as they are: %s", ", ".join(self.kept))
        if left := self.journal.left_out:
            logger.warning("--resume: not asked for, stay unfinished: %s", ", ".join(left))

    def note_data(self, fingerprints: Mapping[str, str]) -> None:
        """Keep what trials train on, by path; raises ConfigurationError where it has changed."""
        facts = self.journal.facts
        check_data(facts, fingerprints)
        if fingerprints and {"fingerprints": fingerprints} not in facts.get(DATA, []):
            facts.setdefault(DATA, []).append({"fingerprints": dict(fingerprints)})

    def note_code(self, fingerprints: Mapping[str, str]) -> None:
        """Keep hashes of the source that trains, by name; logs what was edited since."""
        facts = self.journal.facts
        warn_of_edited_code(facts, fingerprints)
        if fingerprints:
            facts.setdefault(CODE, []).append({"fingerprints": dict(fingerprints)})

    def next(self) -> list[TrialRecord]:
        """What is to be trained now: the search, and once that is over, what confirms it."""
        if not (self.failure or self.budget.reason):
            self.study.settle()  # an earlier part of the run may have ended before it decided
        return ([] if self.budget.reason else self.searching()) or self.unconfirmed_records()

    def searching(self) -> list[TrialRecord]:
        """Trials of the search that are still to be trained, those known by now."""
        if not (self.study.unfinished or self.failure or self.budget.reason):
            self.study.is_over()  # adds a new trial if there is one
        return self.study.unfinished

    def next_trial(self) -> TrialRecord | None:
        """The trial of the search that trains next; None: none before another report."""
        try:
            return self.study.ask()
        except OSError as error:
            self._fail_if_disk_full(error)
            return None

    def unconfirmed_records(self) -> list[TrialRecord]:
        """Trials that are to confirm the best ones: none before the search is over."""
        if self.failure or self.budget.reason == TIME_BUDGET or self.searching():
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
        """These, and examples of all that may come after them."""
        return [*unfinished, *(self.study.plan.examples() if self.study.plan.adaptive else [])]

    @property
    def unfinished(self) -> list[str]:
        """Names of the trials that neither completed nor failed."""
        return [record.name for record in self.records.values() if not record.is_finished]

    @property
    def unconfirmed(self) -> list[str]:
        """Names of the trials that are to confirm the best ones by now, and are not over."""
        done = {record.name for record in self.records.values() if record.is_finished}
        return [name for name in self._made_to_confirm() if name not in done]

    @property
    def progress(self) -> int:
        """Grows with every epoch, and with every batch size that was halved."""
        records = self.records.values()
        return sum(len(r.epochs) + r.used.get("accumulation_used", 0) for r in records)

    # What trials report

    def report(self, record: TrialRecord, result: Mapping[str, Any]) -> str:
        """Take in a report or the end of a trial; returns CONTINUE, PAUSE or STOP."""
        for row in result.get("history", []):  # what was lost with an earlier driver
            record.add({REPORTED: result.get(REPORTED, ()), **row})
        record.add(result)
        if record.made_with:
            self.made_with.note(record.name, record.made_with)
        if result.get("error_message"):
            record.fail(shown(result["error_message"]), result["stop_reason"])
        elif result.get("stop_reason"):
            record.complete(result["stop_reason"])
        if record.name in self.study.trials:
            if "epoch" in result:
                return self.study.report(record)
            self.study.end(record)
        self.changed(record)
        return CONTINUE

    def lose(self, record: TrialRecord) -> None:
        """A trial's process went away; it is to be run again."""
        if not record.is_finished:
            record.status = "pending"
        self.changed(record)

    def fail(self, failure: str) -> None:
        """End the run in order, for a reason that no other trial would escape."""
        self.failure = self.failure or failure

    # What the study needs of who trains its trials

    def keep(self, decisions: Sequence[Decision], trial: TrialRecord | None = None) -> None:
        """Write decisions to the journal, with what `trial` has just reported."""
        if trial is not None:
            self.changed(trial, decisions)
            return
        with self._disk_full_ends_run():
            if self.journal.is_open:  # before that they are written as it opens
                self.journal.append_decisions(decisions)
            else:
                self.journal.decisions += decisions

    def added(self, trial: TrialRecord) -> None:
        """A new trial begins with nothing of an older one of its name."""
        if self.journal.is_open or self._resuming:  # before that, `forget_old` does
            forget(self.output_dir, self.copy, [trial.name])
        self.changed(trial)

    def clone(self, parent: TrialRecord, decision: Decision) -> TrialRecord:
        """A trial that goes on from the parent's state, with what they have in common."""
        child = self.study.trials.get(decision.trial) or clone_of(parent, decision)
        forget(self.output_dir, self.copy, [child.name])
        inherit(child, parent)
        copy_checkpoint(self.output_dir, self.copy, child)
        settings = ", ".join(f"{k} {v}" for k, v in decision.state["settings"].items())
        logger.info(
            "%s replaces %s: goes on from epoch %d of %s with %s",
            *(child.name, decision.state["replaces"], child.parent_epoch, parent.name, settings),
        )
        return child

    def changed(self, trial: TrialRecord, decisions: Sequence[Decision] = ()) -> None:
        """Keep what changed of a trial, and bring the files up to date where that is due."""
        if not self.journal.is_open:  # it is written with all the rest as the journal opens
            return
        self.budget.note(trial)
        with self._disk_full_ends_run():
            self.journal.append(trial, decisions)
            if trial.is_finished:
                self.copy.pull_trial(trial.name)
        self.writer.note(trial)
        self.write_due()

    # Its end

    def cut(self) -> None:
        """End what a spent budget has ended; with the target reached, the search is over.

        Raises:
            ExperimentFailedError: the disk has no room for what they left in the storage.
        """
        unfinished = self.unfinished
        self.budget.cut(self.records.values())
        try:
            for name in unfinished:
                if self.records[name].is_finished:
                    with suppress(FileNotFoundError):  # its process may be at its last copy yet
                        self.copy.pull_trial(name, states=False)  # a resume has them from there
        except OSError as error:
            if not is_disk_full(error):
                raise
            raise disk_full(str(error)) from None
        if self.budget.reason == TARGET:
            for record in self.study.unfinished:
                del self.study.trials[record.name]

    def end(self) -> None:
        """Write everything that is left of a run when its trials are over."""
        self.save_state()
        searched = self.budget.reason != TIME_BUDGET and not self.searching()
        if searched and not self.unconfirmed:
            best = winner(list(self.records.values()))
            read_test_split(self.journal, best, self.options.allow_outside)
        tidy(self.output_dir, self.copy, self.records.values(), self.options.models_kept)
        self.save_results()
        self.journal.close()
        self.copy.push(now=True)

    @property
    def ended_by(self) -> str:
        """What ended the run before its last trial, in words; "" where nothing did."""
        left = self.unfinished
        if self.budget.reason != TIME_BUDGET and (left or self.unconfirmed):
            return ""
        size, begun = self.study.plan.size, len(self.study.trials)
        return self.budget.ended_by(len(left)) or most_trials(self.options.max_trials, begun, size)

    # What is written of it

    def write_due(self) -> None:
        """Bring the results up to date where that is due; the journal always is."""
        with self._disk_full_ends_run():
            self.writer.write_due()
            self.copy.push()

    def write_finished(self) -> None:
        """Write the JSON if it lacks a finished trial."""
        if not self.failure:
            self.writer.write_finished()

    def save_results(self) -> None:
        """Write the JSON and the tables as they stand."""
        self.writer.write_all()

    def document(self) -> dict[str, Any]:
        """What the JSON holds."""
        records, table = list(self.records.values()), self.aggregator.table()
        document = results_document(
            records,
            self.targets,
            self.timestamp,
            table=table,
            best=winner(records, table),
            confirmation=confirmation(records, self.targets),
            held_out=figures_of(self.journal),
        )
        return {**document, "run_id": self.id}

    @contextmanager
    def _disk_full_ends_run(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._fail_if_disk_full(error)

    def _fail_if_disk_full(self, error: OSError) -> None:
        if not is_disk_full(error):
            raise error
        self.fail(str(error))

    def save_state(self) -> None:
        """Leave the journal tidy, and open for more."""
        about = {
            "id": self.id,
            "timestamp": self.timestamp,
            "results_file": str(self.results_file),
            **{name: getattr(self.options, name) for name in KEPT_OPTIONS},
        }
        self.journal.rewrite(self.records, about)

    def forget_old(self) -> None:
        """A fresh run takes nothing from an old one in the same folder."""
        if self.options.overwrite:
            EarlierRun(self.output_dir, self.copy).set_aside(self.records)
        forget_confirmation(self.output_dir, self.copy)
        names = {*self.records, *self.journal.read().trials}
        check_links(self.output_dir, names)
        self.journal.path.unlink(missing_ok=True)
        forget(self.output_dir, self.copy, names)
        if self._results_file is None:
            self._results_file = free_file(self.results_file)
            self.writer.results_file = self.results_file


def _now() -> str:
    return datetime.datetime.now().strftime(TIME_FORMAT)
