"""Find an earlier run in the output folder, and set it aside only with `--overwrite`."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from raytune_ocr.errors import ConfigurationError, DataLoaderError, DataNotFoundError
from raytune_ocr.results.document import RESULTS_COPY, read_document
from raytune_ocr.results.journal import DAMAGED, NAMED, STATE_FILE, Journal
from raytune_ocr.results.record import CONFIRMING_TABLES, EPOCHS_TABLE, TRIALS_TABLE
from raytune_ocr.results.replay import Replay
from raytune_ocr.tune.execution.cleanup import forget, forget_confirmation
from raytune_ocr.tune.storage.mirror import STATES, RunCopy

logger = logging.getLogger(__name__)

RUN_FILES = (
    *(RESULTS_COPY, TRIALS_TABLE, EPOCHS_TABLE, *CONFIRMING_TABLES),
    *(STATE_FILE + DAMAGED, STATE_FILE),
)
"""Files of a run in its output folder; the journal is last, since it marks the folder as a run."""


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
        """Read its journal, from the storage if there is one; nothing is written to either."""
        with tempfile.TemporaryDirectory(prefix="raytune_ocr_") as aside:
            return Journal(self.copy.where_newest(STATE_FILE, Path(aside))).read()

    def check_replaceable(self, new: Iterable[str]) -> None:
        """Raise ConfigurationError if a new run here would replace something.

        Args:
            new: names of the trials of the new run.
        """
        if holds := self._holds(new):
            raise ConfigurationError(
                f"--output-dir: must be a folder without an earlier run, got {self.folder}, which "
                f"holds {holds}; --resume continues that run and adds new experiments; "
                f"--overwrite starts a new run and moves the old one to "
                f"{self.place_aside(self.time())}; another --output-dir leaves it alone"
            )

    def set_aside(self, new: Iterable[str]) -> None:
        """Move the run to a folder beside this one, named after its start time.

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
        logger.warning("moved the earlier run of %s to %s", self.folder, target)

    def time(self) -> str:
        """Return its start time as in file names; "earlier" if that is not known."""
        time = str(self.read().about.get("timestamp", ""))
        return time if re.fullmatch(r"[0-9_]{1,32}", time) else "earlier"

    def place_aside(self, time: str) -> Path:
        """Return an unused path beside the folder."""
        name = f"{self.folder.name}_{time}"
        candidates = (self.folder.with_name(name + more) for more in _numbers())
        return next(path for path in candidates if not os.path.lexists(path))

    def _holds(self, new: Iterable[str]) -> str:
        """Describe what a new run would replace; "" if nothing."""
        replay = self.read()
        names = [name for name, trial in replay.trials.items() if trial.has_work]
        if names:
            done = sum(replay.trials[name].is_finished for name in names)
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            named = f"{', '.join(names[:NAMED])}{more}"
            return f"{done} finished and {len(names) - done} unfinished trials ({named})"
        if replay.damaged:
            return f"a damaged {STATE_FILE}"
        if not replay.about and (self.folder / RESULTS_COPY).exists():
            return f"{RESULTS_COPY} of a run without its {STATE_FILE}"
        others = [name for name in new if name not in replay.trials and self._has_models(name)]
        return f"models of an unknown run ({', '.join(others[:NAMED])})" * bool(others)

    def _has_models(self, name: str) -> bool:
        folder = self.folder / name
        return (folder / "checkpoints").is_dir() or any(folder.glob(f"{STATES}*"))


def trusted_file(written: str, folders: Iterable[Path], default: Path) -> Path:
    """Return the results file that a journal names, or `default` if that may not be written.

    A journal may come from someone else: the file must be a JSON inside `folders` that is new or
    holds results.
    """
    if not _is_results_file(Path(written), folders):
        logger.warning(
            "%s: results_file: %s is not used, because it is outside the run's folders or is not a "
            "results file; results go to %s (--results-file names another file)",
            *(STATE_FILE, written, default),
        )
    elif Path(written).parent.is_dir():
        return Path(written)
    else:
        message = "%s: results_file: the folder of %s does not exist; results go to %s"
        logger.warning(message, STATE_FILE, written, default)
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
    """Raise ConfigurationError if links would make a run write or remove files outside its folder.

    Args:
        folder: the output folder; its files may come from someone else.
        names: of the trials.
    """
    home = folder.resolve()
    trials = [folder / name for name in names]
    within = (path for trial in trials for path in trial.rglob("*") if trial.is_dir())
    for path in (*trials, *within, *(folder / name for name in RUN_FILES)):
        if path.is_symlink() and home not in path.resolve().parents:
            raise ConfigurationError(
                f"--output-dir: must hold no links to paths outside it, got {path}, a link to "
                f"{path.resolve()}; remove the link or name another --output-dir"
            )


def clear_folder(
    folder: Path, copy: RunCopy, journal: Journal, names: Iterable[str], overwrite: bool
) -> None:
    """Remove what an earlier run left in the output folder, or move it aside.

    Args:
        names: of the trials of the new run.
    """
    if overwrite:
        EarlierRun(folder, copy).set_aside(names)
    forget_confirmation(folder, copy)
    names = {*names, *journal.read().trials}
    check_links(folder, names)
    journal.path.unlink(missing_ok=True)
    forget(folder, copy, names)


def free_file(path: Path) -> Path:
    """Make an empty file at `path`, or with a number in its name if `path` exists."""
    for more in _numbers():
        candidate = path.with_name(f"{path.stem}{more}{path.suffix}")
        try:
            candidate.touch(exist_ok=False)
        except FileExistsError:
            continue
        return candidate
    raise AssertionError("every number is taken")


def _numbers() -> Iterable[str]:
    yield ""
    number = 1
    while True:
        number += 1
        yield f"_{number}"
