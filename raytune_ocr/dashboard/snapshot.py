"""The state of a run as JSON for the page, brought up to date from its journal."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from raytune_ocr.dashboard.annotations import Annotations
from raytune_ocr.dashboard.journal_tail import JournalTail
from raytune_ocr.dashboard.results_summary import (
    config_of,
    outcome_of,
    results_summary,
    trial_of,
)
from raytune_ocr.dashboard.trial_rows import (
    INFO,
    TIMES,
    best_row,
    curve_of,
    idle_times,
    info_of,
    is_drawn,
    metrics_of,
    monitor_of,
    settings_of,
    short,
)
from raytune_ocr.errors import DataLoaderError, DataNotFoundError
from raytune_ocr.results.analysis import learning_curves
from raytune_ocr.results.decision import CONTINUE, EXPLOIT, ORDER, PAUSE, Decision
from raytune_ocr.results.document import RESULTS_COPY, read_document
from raytune_ocr.results.journal import STATE_FILE
from raytune_ocr.results.journal_lines import finite
from raytune_ocr.results.replay import Replay, TrialState
from raytune_ocr.results.run_folders import run_folders
from raytune_ocr.results.steering.orders import PAUSE_TRIAL, STOP_TRIAL
from raytune_ocr.training.checkpoints.run_folder import RunFolder

NO_PARENT = ("", 0)


class RunSnapshot:
    """A run for the page. Each change has a version, so that the page asks for what is new.

    Args:
        source: an output folder, or a results JSON.
        wait: whether a run may begin there later.

    Attributes:
        folder: the output folder.
        name: the folder's name, with as many of its parents as tell it from other runs.
        version: grows with each change of the journal or the results JSON.

    Raises:
        DataNotFoundError, DataLoaderError: it is neither.
    """

    def __init__(self, source: str | os.PathLike[str], wait: bool = False) -> None:
        self.source = Path(source)
        self.folder = self.source if wait else folder_of(self.source)
        self.name = self.folder.name
        self.tail = JournalTail(self.folder)
        self.replay = Replay()
        self.version = 0
        self._forget()
        self._results: tuple[int, dict[str, Any]] = (0, {})
        self._modified = self._results_time()
        if not (wait or self.tail.path.exists()):
            self._read_results()

    def _forget(self) -> None:
        self.replay = Replay()
        self._changed: dict[str, int] = {}
        self._settings: dict[str, dict[str, Any]] = {}
        self._first: dict[str, Any] = {}
        self._varied: dict[str, None] = {}
        self._metrics: dict[str, None] = {}
        self._drawn: dict[str, set[str]] = {}
        self._parents: dict[str, tuple[str, int]] = {}
        self._pauses: dict[str, list[int]] = {}
        self._rungs: set[int] = set()
        self._outcomes: dict[str, dict[str, Any]] = {}  # of trials whose epochs are gone
        self._stopped: set[str] = set()  # by an order
        self._annotations = Annotations()
        self._rows: dict[str, tuple[tuple[int, int, int], list[Any]]] = {}

    def refresh(self) -> None:
        """Read what the journal gained; a run ends with its results JSON, after the last line."""
        entries, restarted = self.tail.read()
        if restarted:
            self._forget()
        before, self._modified = self._modified, self._results_time()
        if not (entries or restarted or before != self._modified):
            return
        self.version += 1
        for entry in entries:
            self.replay.apply(entry)
            for decision in entry.get("decisions", []):
                self._note_decision(Decision(**decision))
            if "trial" in entry:
                self._metrics |= metrics_of(entry["rows"])
                self._changed[entry["trial"]] = self.version
        changed = [n for n, version in self._changed.items() if version == self.version]
        self._add_configs(changed)
        for name in changed:
            self._note_settings(name)

    def _add_configs(self, names: Iterable[str]) -> None:
        """Take the configs from the results JSON where an earlier version's journal has none."""
        trials = (self.replay.trials.get(name) for name in names)
        if not any(trial and trial.epochs and not trial.config for trial in trials):
            return
        try:
            document = read_document(self._results_file)[1]
        except (DataLoaderError, DataNotFoundError):
            return
        for result in document["all_results"]:
            trial = self.replay.trials.get(result["experiment_name"])
            if trial and not trial.config:
                trial.config = config_of(result)

    def _note_decision(self, decision: Decision) -> None:
        if decision.decision in (CONTINUE, EXPLOIT):
            self._rungs.add(decision.epoch)
        if decision.decision == EXPLOIT:
            self._parents[decision.trial] = (decision.state["parent"], decision.epoch)
        if decision.decision == ORDER:
            self._annotations.note(decision)
            self._changed[decision.trial] = self.version
            if decision.state.get("action") == STOP_TRIAL:
                self._stopped.add(decision.trial)
        if decision.decision == PAUSE or decision.state.get("action") == PAUSE_TRIAL:
            self._pauses.setdefault(decision.trial, []).append(decision.epoch)
            self._changed[decision.trial] = self.version

    def _note_settings(self, name: str) -> None:
        """Note which settings differ between trials; a new one changes the rows of all."""
        trial = self.replay.trials.get(name)
        if trial is None:  # a decision precedes the trial's first line
            return
        settings = settings_of(trial)
        if settings == self._settings.get(name):
            return
        self._settings[name] = settings
        if trial.search:
            self._drawn.setdefault(trial.search, set()).update(trial.sampled)
        new = [k for k, v in settings.items() if self._first.setdefault(k, v) != v]
        if fresh := {k: None for k in new if k not in self._varied}:
            self._varied |= fresh
            self._changed = dict.fromkeys(self.replay.trials, self.version)

    # What the page gets

    def document(self, since: int = 0) -> dict[str, Any]:
        """Return the run, and the rows of the trials that changed after version `since`."""
        trials = self.replay.trials
        names = [n for n in trials if self._changed.get(n, 0) > since]
        columns = [{"id": name, "kind": "info"} for name in INFO]
        columns += [{"id": f"settings.{name}", "kind": "setting"} for name in self._varied]
        columns += [{"id": f"metrics.{name}", "kind": "metric"} for name in self._metrics]
        return {
            **finite(self.about()),
            "version": self.version,
            "generation": self.tail.restarts,
            "columns": columns,
            "trials": [self._row(name, trials[name]) for name in names],
        }

    def _row(self, name: str, trial: TrialState) -> list[Any]:
        """Return a trial's row, made anew only if the trial or the columns have changed."""
        state = self._changed[name], len(self._varied), len(self._metrics)
        if self._rows.get(name, (None,))[0] != state:
            self._rows[name] = state, self._new_row(name, trial)
        return self._rows[name][1]

    def _new_row(self, name: str, trial: TrialState) -> list[Any]:
        info = info_of(name, trial, self._parents.get(name, NO_PARENT))
        info |= {"tags": self._annotations.tags_of(name), "notes": self._annotations.notes_of(name)}
        info |= self._outcomes.get(name, {})
        if name in self._stopped and not (trial.epochs or trial.is_finished):
            info["status"] = STOPPED  # it will never begin
        settings, best = self._settings.get(name, {}), best_row(trial)
        idle = self._drawn.get(trial.search, set()) - set(trial.sampled) if trial.search else ()
        return [
            *(info[k] if k in TIMES else short(info[k]) for k in INFO),
            *(None if is_drawn(n, idle) else short(settings.get(n)) for n in self._varied),
            *(short(best.get(n)) for n in self._metrics),
        ]

    def about(self) -> dict[str, Any]:
        """Return the facts of the run that belong to no single trial."""
        trials, facts = self.replay.trials.values(), self.replay.facts
        monitors = Counter(monitor_of(trial) for trial in trials)
        metric, mode = monitors.most_common(1)[0][0] if monitors else ("", "max")
        made_with = {tuple(sorted(t.made_with.items())) for t in trials if t.made_with}
        return {
            "name": self.name,
            "folder": str(self.folder),
            "about": self.replay.about,
            "metric": metric,
            "mode": mode,
            "constants": self._constants(),
            "rungs": sorted(self._rungs),
            "made_with": [dict(each) for each in sorted(made_with)],
            "facts": {kind: facts[kind] for kind in facts if kind != "known"},
            "orders": self._annotations.listed(),
            "notes": self._annotations.notes_of(""),
            "tags": self._annotations.tags_of(""),
            "damaged": self.tail.damaged,
            "results": self._summary(),
        }

    def _constants(self) -> dict[str, Any]:
        """Return the settings in which the trials do not differ."""
        same = ((name, value) for name, value in self._first.items() if name not in self._varied)
        return {f"settings.{name}": value for name, value in same}

    def curves(self, metric: str, since: int = 0) -> dict[str, Any]:
        """Return the curve of a metric, and the pauses, of trials that changed after `since`."""
        return {
            name: self._curve(name, trial, metric)
            for name, trial in self.replay.trials.items()
            if trial.epochs and self._changed.get(name, 0) > since
        }

    def _curve(self, name: str, trial: TrialState, metric: str) -> dict[str, Any]:
        pauses = self._pauses.get(name, [])
        return {**curve_of(trial, metric), "pauses": pauses, "idle": idle_times(trial)}

    def log(self, name: str) -> str:
        """Return the error log of a trial; "" if it has none.

        Raises:
            DataNotFoundError: the run has no such trial.
        """
        if name not in self.replay.trials:
            raise DataNotFoundError(f"{self.folder}: no trial {name!r}")
        try:
            path = error_log(self.folder, name)
            return path.read_text(encoding="utf-8", errors="replace")[-LOG_CHARACTERS:]
        except OSError:
            return ""

    # Runs without a journal

    def _read_results(self) -> None:
        """Take the trials of a results JSON without a journal."""
        self.version += 1
        _, document = read_document(self.source)
        curves = learning_curves(self.source, confirming=True)
        rows = {
            str(name): [_present(row) for row in table.to_dict("records")]
            for name, table in curves.groupby("experiment_name", sort=False)
        }
        self.replay.about = {k: v for k, v in document.items() if isinstance(v, str)}
        for result in document["all_results"]:
            name = result["experiment_name"]
            trial = self.replay.trials[name] = trial_of(result, rows.get(name, []))
            if not trial.epochs:
                self._outcomes[name] = outcome_of(result)
            self._metrics |= metrics_of(trial.epochs)
            self._changed[name] = self.version
        for name in list(self.replay.trials):
            self._note_settings(name)

    @property
    def _results_file(self) -> Path:
        return self.source if self.source.is_file() else self.folder / RESULTS_COPY

    def _results_time(self) -> int:
        try:
            return self._results_file.stat().st_mtime_ns
        except OSError:
            return 0

    def _summary(self) -> dict[str, Any]:
        """Return what only the results JSON has, read again when it has changed."""
        try:
            modified = self._results_time()
            if modified != self._results[0]:
                self._results = modified, results_summary(*read_document(self._results_file))
        except (OSError, DataLoaderError):
            return {}
        return self._results[1]


LOG_CHARACTERS = 100_000
STOPPED = "stopped"
"""The status of a trial that an order stopped before its first epoch."""


def error_log(folder: Path, name: str) -> Path:
    """Return the path of a trial's error log."""
    return RunFolder(folder, name).error_log


def folder_of(source: Path) -> Path:
    """Return the output folder of a run, from that folder or from its results JSON.

    Raises:
        DataNotFoundError, DataLoaderError: it is neither.
    """
    if (source / STATE_FILE).exists():
        return source
    path, document = read_document(source)
    folders = list(run_folders(path, document))
    with_journal = (folder for folder in folders if (folder / STATE_FILE).exists())
    return next(with_journal, path.parent)


def _present(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row of a table without the columns that it has no value in."""
    return {str(k): v for k, v in row.items() if v == v}


def snapshots(sources: Iterable[str | os.PathLike[str]], wait: bool = False) -> list[RunSnapshot]:
    """Return a snapshot of each run, up to date, with its rows made for the first answer."""
    runs = [RunSnapshot(source, wait) for source in sources]
    for run, name in zip(runs, _names([run.folder.absolute() for run in runs]), strict=True):
        run.name = name
        run.refresh()
        run.document()
    return runs


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the end of each path, as short as tells them apart."""
    longest = max(len(folder.parts) for folder in folders)
    for size in range(1, longest + 1):
        names = ["/".join(folder.parts[-size:]) for folder in folders]
        if len(set(names)) == len(set(folders)):
            break
    return names
