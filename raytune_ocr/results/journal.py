"""What a resume needs, in one file of facts: a report costs a line, whatever came before.

Facts are only added while a run goes on, and written anew, without what was overtaken, when it
begins and ends. The last line may be half there after a crash; it is left out.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.config.yaml_files import load_yaml
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.files import replacing
from raytune_ocr.results.document import finite
from raytune_ocr.results.journal_schema import _int, _is_fact
from raytune_ocr.results.record import CUT, FINISHED, TrialRecord
from raytune_ocr.training.model_config import without_model_file

logger = logging.getLogger(__name__)

STATE_FILE = "run_state.jsonl"
SYNC_SECONDS = 1.0  # a crash of the machine, not of the run, may cost as much
SETTINGS_THAT_MAY_CHANGE = ("output_dir", "device", "num_workers", "metadata_path")


SETTINGS = ("fingerprint", "search", "sampled")  # of a trial, noted when it is new

MOST_TOLD = 3  # trials that are told of one by one


@dataclass
class KeptTrial:
    """What a run has noted of one trial; the names are `TrialRecord`'s."""

    fingerprint: str = ""
    status: str = "pending"
    stop_reason: str = ""
    error_message: str = ""
    epochs: list[dict[str, Any]] = field(default_factory=list)
    used: dict[str, int] = field(default_factory=dict)
    search: str = ""
    sampled: dict[str, Any] = field(default_factory=dict)

    def take(self, fact: Mapping[str, Any]) -> None:
        """Take in a line; an epoch that was done again replaces what it was before."""
        for row in fact["rows"]:
            while self.epochs and self.epochs[-1]["epoch"] >= row["epoch"]:
                self.epochs.pop()
            self.epochs.append({k: math.nan if v is None else v for k, v in row.items()})
        for name in (*SETTINGS, "status", "stop_reason", "error_message", "used"):
            setattr(self, name, fact.get(name, getattr(self, name)))


@dataclass
class Kept:
    """All that a run has noted.

    Attributes:
        about: of the run itself: `id`, `timestamp`, `results_file`, its options.
        trials: by name.
        notes: what others have kept by `RunState.keep`, by kind, in order.
    """

    about: dict[str, Any] = field(default_factory=dict)
    trials: dict[str, KeptTrial] = field(default_factory=dict)
    notes: dict[str, list[Any]] = field(default_factory=dict)


class RunState:
    """The facts of the run in an output folder.

    A run calls `load` if it goes on with an earlier one, then `rewrite`, then `note` and `keep` as
    things happen, and `rewrite` once more at its end.

    Attributes:
        notes: what was kept by `keep`, by kind, in order.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder) / STATE_FILE
        self.notes: dict[str, list[Any]] = {}
        self._others: dict[str, KeptTrial] = {}  # of experiments that are left out this time
        self._file: IO[bytes] | None = None
        self._synced = 0.0
        self._known: set[str] = set()  # whose settings the file has

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_file": None}  # Ray pickles what it is given; nothing reads it

    @property
    def opened(self) -> bool:
        """Whether `note` and `keep` can be called."""
        return self._file is not None

    def exists(self) -> bool:
        """Whether the folder holds a run."""
        return self.path.exists()

    def read(self) -> Kept:
        """What the file says; nothing if it is not there."""
        kept = Kept()
        for fact in self._facts():
            if "trial" in fact:
                kept.trials.setdefault(fact["trial"], KeptTrial()).take(fact)
            elif "run" in fact:
                kept.about = fact["run"]
            else:
                for kind, value in fact.items():
                    kept.notes.setdefault(kind, []).append(value)
        return kept

    def load(self, records: Mapping[str, TrialRecord]) -> dict[str, Any]:
        """Take up the run in the folder: fill in `records` and `notes`; returns `Kept.about`.

        Raises:
            ConfigurationError: when there is none, or it was made with other settings.
        """
        if not self.exists():
            raise ConfigurationError(
                f"--resume: {self.path.parent} holds no run (no {STATE_FILE}); "
                "start one without --resume, or name its folder by --output-dir"
            )
        kept = self.read()
        if not {"timestamp", "results_file"} <= set(kept.about):
            raise ConfigurationError(
                f"--resume: {self.path}: damaged: its first line, which says what the run is, "
                "cannot be read; put the file back from a copy, or begin another run that trains "
                f"nothing again that this one has finished: --warm-start {self.path.parent} "
                "--output-dir ANOTHER"
            )
        there = {name: trial for name, trial in kept.trials.items() if name in records}
        other = [n for n, trial in there.items() if trial.fingerprint != fingerprint(records[n])]
        if other or not there:
            told = [self._told_apart(records[name]) for name in other[:MOST_TOLD]]
            told += [f"and {len(other) - MOST_TOLD} more"] * (len(other) > MOST_TOLD)
            which = "; ".join(told) or "none of its experiments is in this config"
            raise ConfigurationError(
                f"--resume: {self.path.parent} holds a run with another config ({which}); resume "
                "with the config it was started with, or choose another --output-dir"
            )
        self.notes = kept.notes
        self._others = {n: trial for n, trial in kept.trials.items() if n not in records}
        for name, trial in there.items():
            _restore(records[name], trial)
        return kept.about

    def _told_apart(self, record: TrialRecord) -> str:
        """A trial's name, and what of its config is other than it was, where that is known."""
        from raytune_ocr.training import RunFolder

        try:
            was = load_yaml(RunFolder(self.path.parent, record.name).config_file)
        except ConfigurationError:
            return record.name
        now = _deciding(record.config)
        if was.get("model_config_path") == "":  # as a trial has it
            now = _deciding(without_model_file(record.config))
        changed = [
            f"{k} was {was[k]!r}, is {now[k]!r}" for k in now if k in was and was[k] != now[k]
        ]
        return ": ".join([record.name, ", ".join(changed)]) if changed else record.name

    def take_up(self, records: Mapping[str, TrialRecord]) -> set[str]:
        """Fill in trials that `load` was not told of, where the file has them; returns their names.

        One that was noted with other settings is begun anew.
        """
        taken = set()
        for name, record in records.items():
            trial = self._others.pop(name, None)
            if trial is not None and trial.fingerprint == fingerprint(record):
                _restore(record, trial)
                taken.add(name)
        return taken

    def rewrite(self, records: Mapping[str, TrialRecord], about: Mapping[str, Any]) -> None:
        """Write all anew, aside and then in place; what is noted from now on is added to it."""
        self.close()
        trials = {name: _kept(record) for name, record in records.items()} | self._others
        with replacing(self.path) as aside, aside.open("wb") as file:
            file.write(_line({"run": dict(about)}))
            for kind, values in self.notes.items():
                file.writelines(_line({kind: value}) for value in values)
            for name, trial in trials.items():
                facts = vars(trial).copy()
                rows = facts.pop("epochs")
                file.write(_line({"trial": name, **facts, "rows": rows}))
        for record in records.values():
            record.unsaved.clear()
        self._known = set(trials)
        self._file = self.path.open("ab", buffering=0)

    def note(self, record: TrialRecord) -> None:
        """Add what a trial has reported since it was last noted.

        Raises:
            OSError: the disk is full; the file is as it was before.
        """
        fact: dict[str, Any] = {"trial": record.name, "status": record.status}
        if record.name not in self._known:
            kept = vars(_kept(record))
            fact |= {name: kept[name] for name in SETTINGS}
            self._known.add(record.name)
        for name in ("stop_reason", "error_message", "used"):
            if value := getattr(record, name):
                fact[name] = value
        self._add({**fact, "rows": record.unsaved})
        record.unsaved.clear()

    def keep(self, kind: str, value: Any) -> None:
        """Add something else that a resume needs: it will be in `notes[kind]`, in order.

        Raises:
            OSError: the disk is full; the file is as it was before.
        """
        self._add({kind: value})
        self.notes.setdefault(kind, []).append(value)

    def close(self) -> None:
        """Nothing is added any more."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _add(self, fact: Mapping[str, Any]) -> None:
        assert self._file is not None, "rewrite comes first"
        end = self._file.seek(0, os.SEEK_END)
        line = _line(fact)
        try:
            written = self._file.write(line)
            if written != len(line):  # the last bytes of a full disk
                self._file.write(line[written:])
            if time.monotonic() - self._synced > SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError:
            self._file.truncate(end)
            raise

    def _facts(self) -> Iterator[dict[str, Any]]:
        if not self.exists():
            return
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    fact = json.loads(line, parse_int=_int)
                    if not _is_fact(fact):
                        raise ValueError("no line of ours")
                except (ValueError, RecursionError):
                    rest = file.readlines()
                    if rest:  # trials from here on are taken up from their own states
                        logger.warning("%s:%d: damaged; the rest is left out", self.path, number)
                    return
                yield fact


def fingerprint(record: TrialRecord) -> str:
    """Of the settings that decide the weights."""
    deciding = _deciding(record.config)
    if not deciding["changes"]:  # so that runs from before there were any can be resumed
        del deciding["changes"]
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]


def _deciding(config: TrainingConfig) -> dict[str, Any]:
    return {k: v for k, v in config.to_dict().items() if k not in SETTINGS_THAT_MAY_CHANGE}


def _kept(record: TrialRecord) -> KeptTrial:
    return KeptTrial(
        fingerprint(record),
        record.status,
        record.stop_reason,
        record.error_message,
        record.epochs,
        record.used,
        record.search,
        dict(record.sampled),
    )


def _line(fact: Mapping[str, Any]) -> bytes:
    return json.dumps(finite(fact), ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _restore(record: TrialRecord, kept: KeptTrial) -> None:
    record.epochs, record.used = list(kept.epochs), dict(kept.used)
    finished = kept.status in FINISHED and kept.stop_reason not in CUT
    record.status = kept.status if finished else "pending"
    record.stop_reason = kept.stop_reason if finished else ""
    record.error_message = kept.error_message if finished else ""
