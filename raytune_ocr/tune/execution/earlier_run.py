"""An earlier run in the output folder: a new one takes its place only where that is asked for."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from raytune_ocr.errors import ConfigurationError, DataLoaderError, DataNotFoundError
from raytune_ocr.results.document import RESULTS_COPY, read_document
from raytune_ocr.results.journal import DAMAGED, STATE_FILE, Journal
from raytune_ocr.results.record import CONFIRMING_TABLES, EPOCHS_TABLE, TRIALS_TABLE
from raytune_ocr.results.replay import Replay
from raytune_ocr.tune.storage.mirror import STATES, RunCopy

logger = logging.getLogger(__name__)

RUN_FILES = (
    *(RESULTS_COPY, TRIALS_TABLE, EPOCHS_TABLE, *CONFIRMING_TABLES),
    *(STATE_FILE + DAMAGED, STATE_FILE),
)
"""Files of a run in its output folder, the journal last: while it is there, a run is."""
NAMED = 3  # trials that a message names one by one


class EarlierRun:
    """The run that an output folder, or its copy in a storage, holds.

    Args:
        folder: the output folder.
        copy: of the run in a storage.
    """

    def __init__(self, folder: Path, copy: RunCopy) -> None:
        self.folder = folder
        self.copy = copy

    def read(self) -> Replay:
        """Its journal; the storage's where there is one. Neither place is changed."""
        with tempfile.TemporaryDirectory(prefix="raytune_ocr_") as aside:
            return Journal(self.copy.where_newest(STATE_FILE, Path(aside))).read()

    def check_replaceable(self, new: Iterable[str]) -> None:
        """Raises ConfigurationError where something would be lost if a new run began here.

        Args:
            new: names of the trials of the new run.
        """
        if holds := self._holds(new):
            raise ConfigurationError(
                f"--output-dir: must be a folder without an earlier run, got {self.folder}, which "
                f"holds {holds}; --resume continues it, adds experiments and keeps what is "
                f"there; --overwrite begins anew and keeps it as {self.place_aside(self.time())}; "
                "another --output-dir leaves it as it is"
            )

    def set_aside(self, new: Iterable[str]) -> None:
        """Move all of it to a folder beside this one, named after the time when it began.

        Args:
            new: names of the trials of the new run.

        Raises:
            ConfigurationError: it cannot be moved.
        """
        if not self._holds(new):
            return
        time = self.time()
        names = {*self.read().trials, *new}
        target = self.place_aside(time)
        try:
            target.mkdir()
            for name in (*sorted(names), *RUN_FILES):
                if os.path.lexists(self.folder / name):
                    (self.folder / name).rename(target / name)
        except OSError as error:
            raise ConfigurationError(
                f"--overwrite: must be able to move the earlier run of {self.folder} to {target}: "
                f"{error.strerror}; name another --output-dir"
            ) from None
        if self.copy.storage:
            self.copy.storage.set_aside(time)
        logger.warning("the earlier run of %s is in %s now", self.folder, target)

    def time(self) -> str:
        """When it began, as in names of files; "earlier" where that is not known."""
        time = str(self.read().about.get("timestamp", ""))
        return time if re.fullmatch(r"[0-9_]{1,32}", time) else "earlier"

    def place_aside(self, time: str) -> Path:
        """A path beside the folder that is free."""
        name = f"{self.folder.name}_{time}"
        candidates = (self.folder.with_name(name + more) for more in _numbers())
        return next(path for path in candidates if not os.path.lexists(path))

    def _holds(self, new: Iterable[str]) -> str:
        """What would be lost, in words; "" if nothing would."""
        replay = self.read()
        names = [name for name, trial in replay.trials.items() if trial.has_work]
        if names:
            done = sum(replay.trials[name].is_finished for name in names)
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            told = f"{', '.join(names[:NAMED])}{more}"
            return f"{done} finished and {len(names) - done} begun trials ({told})"
        if replay.damaged:
            return f"a {STATE_FILE} that is damaged"
        if not replay.about and (self.folder / RESULTS_COPY).exists():
            return f"{RESULTS_COPY} of a run without its {STATE_FILE}"
        others = [name for name in new if name not in replay.trials and self._has_models(name)]
        return f"models of no run that is known here ({', '.join(others[:NAMED])})" * bool(others)

    def _has_models(self, name: str) -> bool:
        folder = self.folder / name
        return (folder / "checkpoints").is_dir() or any(folder.glob(f"{STATES}*"))


def trusted_file(written: str, folders: Iterable[Path], default: Path) -> Path:
    """The results file that a journal names, or `default` where it is not a run's to write.

    Others may have written the journal: what it names is used only where that is a JSON inside
    `folders` that is new, or holds results.
    """
    if _is_results_file(Path(written), folders):
        if Path(written).parent.is_dir():
            return Path(written)
        told = "%s: results_file: the folder of %s is gone; results go to %s"
        logger.warning(told, STATE_FILE, written, default)
        return default
    logger.warning(
        "%s: results_file: not written to, since it lies elsewhere, or is neither new nor results: "
        "%s; results go to %s (--results-file names another one)",
        *(STATE_FILE, written, default),
    )
    return default


def _is_results_file(path: Path, folders: Iterable[Path]) -> bool:
    real = path.resolve()
    inside = any(folder.resolve() in real.parents for folder in folders)
    if not inside or real.suffix != ".json" or real.name.startswith("."):
        return False
    try:
        read_document(real)
    except DataNotFoundError:
        return not real.exists()
    except DataLoaderError:
        return False
    return True


def check_links(folder: Path, names: Iterable[str]) -> None:
    """Raises ConfigurationError where a run would write or remove outside of its folder.

    Args:
        folder: the output folder, with files and trials that others may have left in it.
        names: of the trials.
    """
    home = folder.resolve()
    trials = [folder / name for name in names]
    within = (path for trial in trials for path in trial.rglob("*") if trial.is_dir())
    for path in (*trials, *within, *(folder / name for name in RUN_FILES)):
        if path.is_symlink() and home not in path.resolve().parents:
            raise ConfigurationError(
                f"--output-dir: must hold no links that lead out of it, got {path}, a link to "
                f"{path.resolve()}; remove it or name another --output-dir"
            )


def free_file(path: Path) -> Path:
    """Make an empty file at `path`, or with a number in its name where that is taken."""
    for more in _numbers():
        candidate = path.with_name(f"{path.stem}{more}{path.suffix}")
        try:
            candidate.touch(exist_ok=False)
        except FileExistsError:
            continue
        return candidate
    raise AssertionError("numbers do not end")


def _numbers() -> Iterable[str]:
    yield ""
    number = 1
    while True:
        number += 1
        yield f"_{number}"
