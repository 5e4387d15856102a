"""Copy the files of a trial and of a run to and from a storage."""

from __future__ import annotations

import logging
import shutil
import time
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from raytune_ocr.errors import CheckpointError, ConfigurationError
from raytune_ocr.training.checkpoints.run_folder import STATE_NAME
from raytune_ocr.training.checkpoints.state_files import part_of, read_state
from raytune_ocr.tune.storage.storage import Storage

logger = logging.getLogger(__name__)

STATES = "checkpoint_"  # prefix of the folders of a trial's states


RAY_STATE = ("tuner.pkl", "experiment_state-*.json", "basic-variant-state-*.json")
"""Ray's snapshot of a run: a resume does not use it, and it contains pickles."""
NOT_COPIED = ("run.lock", "ray.log", *RAY_STATE)


SEND_SECONDS = 5.0  # a killed driver may lose so much; trials report it again


STATES_KEPT = 2  # of a trial: its newest may be incomplete when its node is lost


class Mirror:
    """A local folder and its copy in the storage.

    Args:
        storage: contains the copy.
        folder: the local folder.
        under: the copy's name in the storage.
    """

    def __init__(self, storage: Storage, folder: Path, under: str = "") -> None:
        self.storage = storage
        self.folder = folder
        self.under = under
        self._same: dict[
            str, tuple[int, int]
        ] = {}  # size and time of local files that the storage has

    def _name(self, relative: str) -> str:
        return f"{self.under}/{relative}" if self.under else relative

    def pull(self, *, states: bool = True) -> None:
        """Copy the storage's files here; `states`: also the states of trials."""
        for name, (_, mtime_ns) in self.storage.files(self.under).items():
            relative = PurePosixPath(name).relative_to(self.under)
            if any(map(is_left_out, relative.parts)):  # in a store ".." is a name
                continue
            if states or not any(part.startswith(STATES) for part in relative.parts[:-1]):
                target = self.folder / relative
                self.storage.fetch(name, target, mtime_ns)
                self._same[str(relative)] = _stamp(target)

    def push(self, *, deep: bool = True) -> None:
        """Copy changed files to the storage, then remove there what was removed here.

        Args:
            deep: include sub-folders; else nothing is removed.
        """
        here = {str(p.relative_to(self.folder)): p for p in _files(self.folder, deep)}
        for relative, path in here.items():
            stamp = _stamp(path)
            if self._same.get(relative) != stamp:
                self.storage.send(path, self._name(relative))
                self._same[relative] = stamp
        for relative in set(self._same) - set(here) if deep else ():
            self.storage.remove(self._name(relative))
            del self._same[relative]


class RunCopy:
    """The run's copy in a storage; without a storage all methods do nothing.

    Args:
        storage: of the run.
        folder: the output folder; the driver copies its files, trials copy theirs.

    Raises:
        ConfigurationError: the storage is that folder, or contains it.
    """

    def __init__(self, storage: Storage | None, folder: Path) -> None:
        if storage:
            _check_apart(storage, folder)
        self.storage = storage
        self.folder = folder
        self._mirror = Mirror(storage, folder) if storage else None
        self._sent = 0.0

    def pull(self) -> None:
        """Copy everything but the states of trials from the storage."""
        if self._mirror:
            self._mirror.pull(states=False)

    def where_newest(self, name: str, aside: Path) -> Path:
        """Return the folder with the newest version of a file; the output folder stays as it is."""
        if self.storage and self.storage.holds(name):
            self.storage.fetch(name, aside / name)
            return aside
        return self.folder

    def pull_trial(self, name: str, *, states: bool = True) -> None:
        """Copy a trial's files from the storage; `states`: also its states."""
        if self.storage:
            Mirror(self.storage, self.folder / name, name).pull(states=states)

    def push_trial(self, name: str) -> None:
        """Copy a trial's files to the storage, its states included."""
        if self.storage:
            Mirror(self.storage, self.folder / name, name).push()

    def push(self, now: bool = False) -> None:
        """Copy the driver's own files, at most every few seconds unless `now`."""
        due = now or time.monotonic() - self._sent > SEND_SECONDS
        if self._mirror and due:
            self._mirror.push(deep=False)
            self._sent = time.monotonic()

    def remove(self, name: str) -> None:
        """Remove a trial's files from the storage."""
        if self.storage:
            self.storage.remove_folder(name)

    def prune(self, name: str) -> None:
        """Remove a trial's files from the storage that its local folder does not have."""
        if self.storage:
            for there in self.storage.files(name):
                if not (self.folder / there).exists():
                    self.storage.remove(there)


def _check_apart(storage: Storage, folder: Path) -> None:
    """Raise ConfigurationError if the storage is the output folder or contains it.

    Copies would replace files that are being written, or nest one level deeper at each resume.
    """
    from pyarrow import fs

    if not isinstance(storage.filesystem, fs.LocalFileSystem):
        return
    root, here = Path(storage.root or "/").resolve(), folder.resolve()
    if root == here or root in here.parents:
        raise ConfigurationError(
            "--storage: must be a folder that neither is nor contains --output-dir, got "
            f"{storage.place} for {folder}; name another folder, or leave --storage out if every "
            "node can read and write --output-dir"
        )


def state_folder(epoch: int) -> str:
    """Return the name of the folder of a trial's state after an epoch."""
    return f"{STATES}{epoch:06d}"


def keep_state(folder: Path, state: str, epoch: int) -> None:
    """Copy a state into a trial's folder, and keep the newest two."""
    shutil.copytree(state, folder / state_folder(epoch), dirs_exist_ok=True)
    for old in sorted(folder.glob(f"{STATES}*"))[:-STATES_KEPT]:
        shutil.rmtree(old)


def newest_state(folder: Path, restored: Path | None = None) -> Path | None:
    """Return the intact state of the latest epoch below a trial's folder; log damaged ones.

    The epoch decides, not the file's time, because a clock may have been set back.

    Args:
        restored: the folder of another state, from which Ray restores the trial.
    """
    epochs: dict[Path, int] = {}
    others = [] if restored is None else [restored / STATE_NAME]
    for path in [*others, *sorted(folder.glob(f"{STATES}*/{STATE_NAME}"))]:
        try:
            epochs[path] = part_of(read_state(path), "epoch", path)
        except CheckpointError as error:
            logger.warning("%s; using the state before it", error)
    return max(epochs, key=epochs.__getitem__, default=None)


def _files(folder: Path, deep: bool) -> list[Path]:
    """Return the files of a folder that are copied, sorted."""
    found = folder.rglob("*") if deep else folder.glob("*")
    return sorted(p for p in found if p.is_file() and not is_left_out(p.name))


def is_left_out(name: str) -> bool:
    """Whether a file of that name is not copied: temporary ones and those of this machine."""
    return any(fnmatch(name, pattern) for pattern in (".*", *NOT_COPIED))


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
