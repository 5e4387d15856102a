"""One run: which trials it has, what it may spend, what is written of them. Nothing of Ray here.

Every epoch is noted in the run's own state beside the results, so that it goes on after anything
that ends the driver.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from raytune_ocr.errors import ConfigurationError, ExperimentFailedError
from raytune_ocr.files import DISK_FULL
from raytune_ocr.results.document import RESULTS_COPY, results_document, write_json
from raytune_ocr.results.journal import Kept, RunState
from raytune_ocr.results.journal_schema import GENERATION, HALVING, HELD_OUT
from raytune_ocr.results.record import FINISHED, TARGET, TIME_BUDGET, TrialRecord
from raytune_ocr.results.tables import write_tables
from raytune_ocr.tune.execution.budget import Budget
from raytune_ocr.tune.execution.cleanup import forget, forget_confirmation, hand_down, tidy
from raytune_ocr.tune.execution.throttle import Pace
from raytune_ocr.tune.options import KEPT_OPTIONS, TuneOptions, check_comparable
from raytune_ocr.tune.schedulers.population_based import Population, heir_of, inherit
from raytune_ocr.tune.schedulers.successive_halving import SuccessiveHalving
from raytune_ocr.tune.search.random_search import RandomSearch
from raytune_ocr.tune.search.registry import SEARCH_KINDS
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.selection.confirmation import confirmation, confirming_records, winner
from raytune_ocr.tune.selection.test_split import read_test_split
from raytune_ocr.tune.space.search_space import Space
from raytune_ocr.tune.storage.mirror import RunCopy

logger = logging.getLogger(__name__)

CONFIRM_SEEDS = 3


def no_room(failure: str) -> ExperimentFailedError:
    """What a run says that a full disk has ended."""
    return ExperimentFailedError(
        f"{failure}; make room and go on with --resume: what was written is whole"
    )


class Run:
    """The trials of a run in an output folder, and everything that is written of them.

    `start`, then `note` and `write_due` as trials report, then `end`.

    Args:
        output_dir: the run's folder.
        options: of the run.
        copy: what is kept of it in a storage.
        timestamp: when it began.
        results_file: where the JSON goes.

    Attributes:
        id: tells it from any other run, and is kept over a resume.
        records: its trials by name, those that confirm others too.
        failure: what ended it that no other trial would have escaped, a full disk, or "".
        stop: called with that, to end it in order.
    """

    def __init__(
        self,
        output_dir: Path,
        options: TuneOptions,
        copy: RunCopy,
        timestamp: str,
        results_file: Path | None = None,
    ) -> None:
        self.output_dir = output_dir
        self.options = options
        self.copy = copy
        self.timestamp = timestamp
        self.id = secrets.token_hex(8)
        self._results_file = results_file
        self.targets: dict[str, float] = {}
        self.records: dict[str, TrialRecord] = {}
        self.state = RunState(output_dir)
        self.budget = Budget(options.time_budget, options.target)
        self.plan: RandomSearch = RandomSearch(Space({}))
        self.failure = ""
        self.stop: Callable[[str], None] = lambda failure: None
        self._resuming = False
        self._document_pace, self._tables_pace = Pace(), Pace(seconds=1.0)
        self._document_due = self._tables_due = False

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
        self.targets = space.targets
        self.state = RunState(self.output_dir)
        kept = self.state.read() if resuming else Kept()
        self.plan = self._plan(space, known, kept.notes)
        first = [*self.plan.first(kept.trials), *self.plan.restored(kept.trials)]
        self.records = {record.name: record for record in first}
        judged = ((r.search or r.name, r.config) for r in self.possible(first))
        check_comparable(judged, self.options.scheduler)
        if resuming:
            self._load_state()
            for decision in kept.notes.get(self.plan.kind, []):
                self._carry_out(decision)
        self.budget.start(self.records.values())
        self.cut()  # where an earlier part has reached the target, the search is over
        if not (self.searching() or self.records):
            raise ConfigurationError(f"--warm-start: {known.told_of(space)}")

    def _plan(
        self, space: Space, known: KnownPoints, notes: Mapping[str, list[dict[str, Any]]]
    ) -> RandomSearch:
        options = self.options
        grace, most = options.grace_period, options.max_trials
        if options.scheduler == "pbt":
            return Population(space, known, most, notes.get(GENERATION, []), interval=grace)
        if options.scheduler == "halving":
            decided, factor = notes.get(HALVING, []), options.reduction_factor
            return SuccessiveHalving(
                space, known, most, decided, grace_period=grace, reduction_factor=factor
            )
        return SEARCH_KINDS[options.search](space, known, most)

    def next(self) -> list[TrialRecord]:
        """What is to be trained now: the search, and once that is whole, what confirms it."""
        return ([] if self.budget.reason else self.searching()) or self.confirming()

    def searching(self) -> list[TrialRecord]:
        """Trials of the search that are still to be run, those known by now."""
        records = self.records.values()
        unfinished = [r for r in records if r.status not in FINISHED and not r.confirms]
        if unfinished or self.failure or self.budget.reason:
            return unfinished
        drawn = self.draw()
        return [drawn] if drawn else []

    def draw(self) -> TrialRecord | None:
        """One trial more, of a search that goes by its results; None: there is none now."""
        with self._disk_full_ends_run():
            while (decision := self.plan.decide(self.records)) is not None:
                self.state.keep(self.plan.kind, decision)
                self.plan.take(decision)
                self._carry_out(decision)
        record = self.plan.next(self.records)
        if record is not None:
            if record.name not in self.records and (self.state.opened or self._resuming):
                forget(self.output_dir, self.copy, [record.name])  # before that, `forget_old` does
            self.records[record.name] = record
            self._note_if_open(record)
        return record

    def _carry_out(self, decision: Mapping[str, Any]) -> None:
        """Stop who ends or is replaced, begin heirs with what their parents have; once."""
        records = self.records
        for name in decision.get("ends", []):
            if name in records:  # not of an experiment that is left out this time
                self._stop_early(records[name])
        for heir in decision.get("heirs", []):
            if not {heir["parent"], heir["instead_of"]} <= records.keys():
                continue  # of experiments that are left out this time
            replaced, parent = records[heir["instead_of"]], records[heir["parent"]]
            self._stop_early(replaced)
            child = records.get(heir["name"]) or heir_of(parent, heir, decision["epoch"])
            records[child.name] = child
            if not child.epochs and child.status not in FINISHED:
                forget(self.output_dir, self.copy, [child.name])
                inherit(child, parent)
                hand_down(self.output_dir, self.copy, child)
                self._note_if_open(child)
                settings = ", ".join(f"{k} {v:g}" for k, v in heir["settings"].items())
                logger.info(
                    "%s takes the place of %s: goes on from epoch %d of %s with %s",
                    *(child.name, replaced.name, child.parent_epoch, parent.name, settings),
                )

    def _stop_early(self, record: TrialRecord) -> None:
        if record.status not in FINISHED:
            record.status, record.stop_reason = "completed", "scheduler"
            self._note_if_open(record)

    def _note_if_open(self, record: TrialRecord) -> None:
        """What happens before the state is open is written with all the rest as it opens."""
        if self.state.opened:
            self.note(record)

    def confirming(self) -> list[TrialRecord]:
        """Trials that are to confirm the best ones: none before the search is whole."""
        if self.failure or self.budget.reason == TIME_BUDGET or self.searching():
            return []
        made = self._made_to_confirm()
        new = {name: record for name, record in made.items() if name not in self.records}
        forget(self.output_dir, self.copy, set(new) - self.state.take_up(new))
        self.records |= new
        return [self.records[name] for name in self.unconfirmed]

    def _made_to_confirm(self) -> dict[str, TrialRecord]:
        confirm, seeds = self.options.confirm or 0, self.options.confirm_seeds or CONFIRM_SEEDS
        return confirming_records(self.records.values(), confirm, seeds)

    def possible(self, unfinished: list[TrialRecord]) -> list[TrialRecord]:
        """These, and examples of all that may come after them."""
        return [*unfinished, *(self.plan.examples() if self.plan.adaptive else [])]

    @property
    def unfinished(self) -> list[str]:
        """Names of the trials that neither completed nor failed."""
        return [r.name for r in self.records.values() if r.status not in FINISHED]

    @property
    def unconfirmed(self) -> list[str]:
        """Names of the trials that are to confirm the best ones by now, and are not over."""
        done = {r.name for r in self.records.values() if r.status in FINISHED}
        return [name for name in self._made_to_confirm() if name not in done]

    @property
    def progress(self) -> int:
        """Grows with every epoch, and with every batch that was halved."""
        records = self.records.values()
        return sum(len(r.epochs) + r.used.get("accumulation_used", 0) for r in records)

    # Its end

    def cut(self) -> None:
        """End what a spent budget has ended; with the target reached, the search is whole.

        Raises:
            ExperimentFailedError: the disk has no room for what they left in the storage.
        """
        unfinished = self.unfinished
        self.budget.cut(self.records.values())
        try:
            for name in unfinished:
                if self.records[name].status in FINISHED:
                    with suppress(FileNotFoundError):  # its process may be at its last copy yet
                        self.copy.pull_trial(name, states=False)  # a resume has them from there
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            raise no_room(str(error)) from None  # there is nothing under way to `stop`
        if self.budget.reason == TARGET:
            kept = (r for r in self.records.values() if r.status in FINISHED or r.confirms)
            self.records = {record.name: record for record in kept}

    def end(self) -> None:
        """Write everything that is left of a run whose trials are over."""
        self.save_state()
        self._read_test_split()
        tidy(self.output_dir, self.copy, self.records.values())
        self.save_results()
        self.state.close()
        self.copy.push(now=True)

    def _read_test_split(self) -> None:
        """Once for each winner that a whole run has had: what was read is kept in the state."""
        best = winner(list(self.records.values()))
        read = {note["trial"] for note in self.state.notes.get(HELD_OUT, [])}
        searched = self.budget.reason != TIME_BUDGET and not self.searching()
        whole = searched and not self.unconfirmed
        if best is None or not whole or best.name in read:
            return
        if figures := read_test_split(best, self.options.allow_outside):
            self.state.keep(HELD_OUT, {"trial": best.name, "figures": figures})

    @property
    def ended_by(self) -> str:
        """What ended the run before its last trial, in words; "" where nothing did."""
        options, budget = self.options, self.budget
        if budget.reason == TIME_BUDGET:
            left = f"{len(self.unfinished)} trials not begun" if self.unfinished else "none left"
            return f"the time budget of {options.time_budget:g} s is spent, {left}"
        if self.unfinished or self.unconfirmed:
            return ""
        if budget.reason:
            return f"the target {budget.target} is reached (name a harder one, or none, for more)"
        if options.max_trials is None:
            return ""
        there = sum(e.size for e in self.plan.space.experiments.values())
        begun = sum(not record.confirms for record in self.records.values())
        return (
            f"{begun} of at most {there} trials were asked for (raise --max-trials for more)"
            if options.max_trials <= begun < there
            else ""
        )

    # What is written of it

    def note(self, record: TrialRecord) -> None:
        """Keep what changed of a trial, and bring the files up to date where that is due."""
        self.budget.note(record)
        with self._disk_full_ends_run():
            self.state.note(record)
            if record.status in FINISHED:
                self.copy.pull_trial(record.name)
        self._tables_due = True
        self._document_due |= record.status in FINISHED
        self.write_due()

    def write_due(self) -> None:
        """Write the JSON after a trial finished, the tables each second; not all the time.

        Both grow with the run, so each gets at most a twentieth of its time: where writing takes
        a second, what others read is at most twenty seconds old. The state is always up to date.
        """
        with self._disk_full_ends_run():
            if self._document_due and self._document_pace.ready():
                self.save_results()
            elif self._tables_due and self._tables_pace.ready():
                self._write_tables()
            self.copy.push()

    def write_finished(self) -> None:
        """Write the JSON if it lacks a finished trial."""
        if self._document_due and not self.failure:
            self.save_results()

    def save_results(self) -> None:
        """Write the JSON and the tables as they stand."""
        with self._document_pace.measured():
            document = self.document()
            write_json(self.results_file, document)
            write_json(self.output_dir / RESULTS_COPY, document)
            self._write_tables()
        self._document_due = False

    def document(self) -> dict[str, Any]:
        """What the JSON holds."""
        records = list(self.records.values())
        return results_document(
            records,
            self.targets,
            self.timestamp,
            best=winner(records),
            confirmation=confirmation(records, self.targets),
            held_out={
                note["trial"]: note["figures"] for note in self.state.notes.get(HELD_OUT, [])
            },
        )

    def _write_tables(self) -> None:
        with self._tables_pace.measured():
            write_tables(self.output_dir, list(self.records.values()), self.targets)
        self._tables_due = False

    @contextmanager
    def _disk_full_ends_run(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            self.stop(str(error))

    # Its state

    def save_state(self) -> None:
        """Leave the state tidy, and ready for more."""
        about = {
            "id": self.id,
            "timestamp": self.timestamp,
            "results_file": str(self.results_file),
            **{name: getattr(self.options, name) for name in KEPT_OPTIONS},
        }
        self.state.rewrite(self.records, about)

    def _load_state(self) -> None:
        """Take up the run in the output folder; raises ConfigurationError if it does not fit."""
        about = self.state.load(self.records)
        self.timestamp = about["timestamp"]
        self.id = about.get("id", self.id)  # there was none before trackers' runs were gone on with
        if self._results_file is None:
            self._results_file = Path(about["results_file"])

    def forget_old(self) -> None:
        """A fresh run takes nothing from an old one in the same folder."""
        forget_confirmation(self.output_dir, self.copy)
        old = self.state.read()
        if old.trials:
            begun = old.about.get("timestamp", "an unknown time")
            logger.info(
                "%s: a new run takes the place of the one of %s (--resume goes on with one)",
                *(self.output_dir, begun),
            )
        names = {*self.records, *old.trials}
        self.state.path.unlink(missing_ok=True)
        forget(self.output_dir, self.copy, names)
