"""The journal: a file with every report and decision of a run, and its recovery on a resume.

During a run, entries are only appended: a report costs one line, however long the run. The file is
rewritten without outdated lines when a run begins and ends.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import IO, Any

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.config.yaml_files import load_yaml
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.files import disk_full, follow_no_link, is_disk_full, replacing
from raytune_ocr.results.decision import Decision
from raytune_ocr.results.journal_lines import FORMAT, read_line, write_line
from raytune_ocr.results.record import CUT, TrialOutcome, TrialRecord
from raytune_ocr.results.replay import SETTINGS, Replay, TrialState

logger = logging.getLogger(__name__)

STATE_FILE = "run_state.jsonl"
DAMAGED = ".damaged"  # appended to its name: lines of it that cannot be read
TEST_SPLIT = "test_split"  # the fact with a winner's test metrics
SYNC_SECONDS = 1.0  # a crash of the machine (not of the process) may lose so much
SETTINGS_OF_A_MACHINE = ("device", "num_workers", "metadata_path")
SETTINGS_THAT_MAY_CHANGE = ("output_dir", *SETTINGS_OF_A_MACHINE)
ADDED_SETTINGS = (
    *("changes", "class_names", "image_shape", "trainable", "task", "parameters", "changeable"),
)
"""Settings that were added after the first version; empty ones do not enter the fingerprint."""
NAMED = 3  # trials that a message names one by one


class Journal:
    """The journal of the run in an output folder.

    A resumed run calls `load`; then a run calls `rewrite`, `append...` as things happen, and
    `rewrite` again at its end.

    Attributes:
        decisions: in order.
        facts: by kind, in order.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder) / STATE_FILE
        self.decisions: list[Decision] = []
        self.facts: dict[str, list[Any]] = {}
        self._others: dict[str, TrialState] = {}  # of experiments that are left out this time
        self._file: IO[bytes] | None = None
        self._synced = 0.0
        self._known: set[str] = set()  # trials with their settings in the file
        self._made_with: dict[str, Mapping[str, str]] = {}  # by trial, as in the file

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_file": None}  # Ray pickles it; nothing reads it

    @property
    def is_open(self) -> bool:
        """Whether entries can be appended."""
        return self._file is not None

    @property
    def left_out(self) -> list[str]:
        """Names of the file's unfinished search trials that `load` did not get."""
        others = self._others.items()
        return [n for n, t in others if t.epochs and not (t.is_finished or t.confirms)]

    @property
    def names(self) -> set[str]:
        """Names of the trials in the file, as far as they are known."""
        return {*self._known, *self._others}

    def write_settings_again(self, name: str) -> None:
        """Have the next line of a trial repeat its settings, one of which has changed."""
        self._known.discard(name)

    def exists(self) -> bool:
        """Whether the folder holds a run."""
        return self.path.exists()

    def read(self) -> Replay:
        """Read the file; return an empty replay if there is none. Damaged lines are skipped."""
        replay = Replay()
        for number, line in self._lines():
            try:
                replay.apply(read_line(line))
            except ValueError:
                replay.damaged[number] = line
        if replay.about.get("format", 1) == 1 and "scheduler" in replay.about:
            name = str(replay.about["scheduler"])  # lines of format 1 do not name it
            replay.decisions = [replace(each, scheduler=name) for each in replay.decisions]
        if replay.damaged and not self._is_last_cut(replay.damaged):
            numbers = ", ".join(map(str, replay.damaged))
            logger.warning("%s: skipped damaged lines: %s", self.path, numbers)
        return replay

    def load(self, records: Mapping[str, TrialRecord]) -> dict[str, Any]:
        """Load the run in the folder into `records`; return `Replay.about`.

        Raises:
            ConfigurationError: there is no run, or its trials had other settings.
        """
        if not self.exists():
            raise ConfigurationError(
                f"--resume: {self.path.parent} contains no run (no {STATE_FILE}); "
                "start one without --resume, or name the run's folder with --output-dir"
            )
        replay = self.read()
        self._check_about(replay)
        there = {name: trial for name, trial in replay.trials.items() if name in records}
        other = [n for n, trial in there.items() if trial.fingerprint != fingerprint(records[n])]
        if other:
            named = [self._difference(records[name]) for name in other[:NAMED]]
            named += [f"and {len(other) - NAMED} more"] * (len(other) > NAMED)
            raise ConfigurationError(
                f"--resume: {self.path.parent} contains a run with another config "
                f"({'; '.join(named)}); resume with the original config, rename the changed "
                "experiments, or choose another --output-dir"
            )
        self.decisions, self.facts = replay.decisions, replay.facts
        self._others = {n: trial for n, trial in replay.trials.items() if n not in records}
        self._keep_damaged(replay.damaged)
        for name, trial in there.items():
            _restore(records[name], trial)
        return replay.about

    def _check_about(self, replay: Replay) -> None:
        if not {"timestamp", "results_file"} <= set(replay.about):
            raise ConfigurationError(
                f"--resume: {self.path}: damaged: the first line, which describes the run, cannot "
                "be read; restore the file from a backup, or start a new run that skips finished "
                f"trials: --warm-start {self.path.parent} --output-dir ANOTHER"
            )
        if replay.about.get("format", 1) > FORMAT:
            raise ConfigurationError(
                f"--resume: {self.path}: has format {replay.about['format']}, but this version of "
                f"raytune_ocr reads formats up to {FORMAT}; resume with the version that wrote it"
            )

    def _difference(self, record: TrialRecord) -> str:
        """Return a trial's name and, if known, the changed settings of its config."""
        from raytune_ocr.training.checkpoints.run_folder import RunFolder
        from raytune_ocr.training.model_config import without_model_file  # imports torch

        try:
            was = load_yaml(RunFolder(self.path.parent, record.name).config_file)
        except ConfigurationError:
            return record.name
        now = _deciding(record.config)
        if was.get("model_config_path") == "":  # trials have it empty
            now = _deciding(without_model_file(record.config))
        changed = [
            f"{k} was {was[k]!r}, is {now[k]!r}" for k in now if k in was and was[k] != now[k]
        ]
        return ": ".join([record.name, ", ".join(changed)]) if changed else record.name

    def take_up(self, records: Mapping[str, TrialRecord]) -> set[str]:
        """Restore trials that `load` did not get from the file; return their names.

        A trial with changed settings starts from the beginning.
        """
        taken = set()
        for name, record in records.items():
            trial = self._others.pop(name, None)
            if trial is not None and trial.fingerprint == fingerprint(record):
                _restore(record, trial)
                taken.add(name)
        return taken

    def take_finished(self) -> dict[str, TrialRecord]:
        """Return records of the finished trials that `load` did not get, by name.

        Confirming trials are left for `take_up`. Trials of version 0.1, which wrote no config, stay
        in the file only.
        """
        records = {}
        for name, trial in self._others.items():
            if trial.is_finished and trial.config and not trial.confirms:
                try:
                    records[name] = self._rebuilt(name, trial)
                except ConfigurationError as error:
                    logger.warning("%s: %s: left out of the results: %s", self.path, name, error)
        for name in records:
            del self._others[name]
        return records

    def _rebuilt(self, name: str, trial: TrialState) -> TrialRecord:
        own = {"experiment_name": name, "output_dir": str(self.path.parent)}
        config = TrainingConfig.from_dict({**trial.config, **own}, environment={})
        record = TrialRecord(config, search=trial.search, sampled=trial.sampled)
        _restore(record, trial)
        record.status, record.stop_reason = (
            trial.status,
            trial.stop_reason,
        )  # also of a trial that was cut short
        return record

    def rewrite(self, records: Mapping[str, TrialRecord], about: Mapping[str, Any]) -> None:
        """Rewrite the whole file atomically, and open it for appending."""
        self.close()
        trials = {name: _state_of(record) for name, record in records.items()} | self._others
        with replacing(self.path) as aside, aside.open("wb") as file:
            file.write(write_line({"run": {"format": FORMAT, **about}}))
            file.writelines(
                write_line({kind: value}) for kind, values in self.facts.items() for value in values
            )
            file.writelines(write_line(_decisions([each])) for each in self.decisions)
            for name, trial in trials.items():
                entry = {
                    key: value for key, value in vars(trial).items() if value or key == "status"
                }
                rows = entry.pop("epochs", [])
                file.write(write_line({"trial": name, **entry, "rows": rows}))
        for record in records.values():
            record.unsaved.clear()
        self._known = set(trials)
        self._made_with = {name: trial.made_with for name, trial in trials.items()}
        self.open()

    def open(self) -> None:
        """Open the file for appending; a last line that a crash has cut off is ended."""
        self._file = open(  # noqa: SIM115 - for as long as entries are appended
            self.path, "a+b", buffering=0, opener=follow_no_link
        )
        if end := self._file.seek(0, os.SEEK_END):
            self._file.seek(end - 1)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")

    def append(self, record: TrialRecord, decisions: Sequence[Decision] = ()) -> None:
        """Append a trial's reports since its last line, and the decisions on them.

        Raises:
            OSError: the disk is full; the file is as it was before.
        """
        entry: dict[str, Any] = {"trial": record.name, "status": record.status}
        if record.name not in self._known:
            state = vars(_state_of(record))
            entry |= {name: state[name] for name in SETTINGS if state[name]}
            self._known.add(record.name)
        for name in ("stop_reason", "error_message", "used"):
            if value := getattr(record, name):
                entry[name] = value
        if record.made_with != self._made_with.get(record.name, {}):
            entry["made_with"] = record.made_with
        if decisions:
            entry |= _decisions(decisions)
        self._append({**entry, "rows": record.unsaved})
        self._made_with[record.name] = record.made_with
        record.unsaved.clear()
        self.decisions += decisions

    def append_decisions(self, decisions: Sequence[Decision]) -> None:
        """Append decisions that belong to no single report, all of them or none.

        Raises:
            OSError: the disk is full; the file is as it was before.
        """
        self._append(_decisions(decisions))
        self.decisions += decisions

    def append_fact(self, kind: str, value: Mapping[str, Any]) -> None:
        """Append another fact that a resume needs; it is added to `facts[kind]`.

        Raises:
            OSError: the disk is full; the file is as it was before.
        """
        self._append({kind: value})
        self.facts.setdefault(kind, []).append(value)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, entry: Mapping[str, Any]) -> None:
        assert self._file is not None, "rewrite comes first"
        end = self._file.seek(0, os.SEEK_END)
        line = write_line(entry)
        try:
            written = self._file.write(line)
            if written != len(line):  # the disk is almost full
                self._file.write(line[written:])
            if time.monotonic() - self._synced > SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            self._file.truncate(end)
            if is_disk_full(error):
                raise disk_full(self.path) from None
            raise

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        if self.exists():
            with self.path.open("rb") as file:
                yield from enumerate(file, 1)

    def _is_last_cut(self, damaged: Mapping[int, bytes]) -> bool:
        """Whether the only damaged line is the last one, cut off by a crash."""
        return len(damaged) == 1 and not next(iter(damaged.values())).endswith(b"\n")

    def _keep_damaged(self, damaged: Mapping[int, bytes]) -> None:
        """Copy damaged lines to a file beside the journal, before it is rewritten."""
        if damaged and not self._is_last_cut(damaged):
            copy = self.path.with_name(self.path.name + DAMAGED)
            with open(copy, "ab", opener=follow_no_link) as file:
                file.writelines(line.rstrip(b"\n") + b"\n" for line in damaged.values())
            logger.warning("%s: copied damaged lines to %s", self.path, copy.name)


def fingerprint(record: TrialRecord) -> str:
    """Return a hash of the settings that the weights depend on."""
    deciding = _deciding(record.config)
    for name in ADDED_SETTINGS:  # so that runs from before there were any can be resumed
        if not deciding[name]:
            del deciding[name]
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]


def _deciding(config: TrainingConfig) -> dict[str, Any]:
    return {k: v for k, v in config.to_dict().items() if k not in SETTINGS_THAT_MAY_CHANGE}


def _decisions(decisions: Iterable[Decision]) -> dict[str, Any]:
    return {"decisions": [asdict(decision) for decision in decisions]}


def _state_of(record: TrialRecord) -> TrialState:
    outcome = {field.name: getattr(record, field.name) for field in fields(TrialOutcome)}
    return TrialState(fingerprint(record), record.config.to_dict(), **outcome)


def _restore(record: TrialRecord, trial: TrialState) -> None:
    record.epochs, record.used = list(trial.epochs), dict(trial.used)
    record.made_with = dict(trial.made_with)
    finished = trial.is_finished and trial.stop_reason not in CUT
    record.status = trial.status if finished else "pending"
    record.stop_reason = trial.stop_reason if finished else ""
    record.error_message = trial.error_message if finished else ""
    if finished:
        record.config = _trained_with(record.config, trial.config)


def _trained_with(config: TrainingConfig, was: Mapping[str, Any]) -> TrainingConfig:
    """Return a finished trial's config with the data path and device that it trained with.

    Raises:
        ConfigurationError: the journal has an invalid value.
    """
    used = {name: was[name] for name in SETTINGS_OF_A_MACHINE if name in was}
    if all(getattr(config, name) == value for name, value in used.items()):
        return config
    return TrainingConfig.from_dict({**config.to_dict(), **used}, environment={})
