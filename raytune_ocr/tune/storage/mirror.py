"""Copies of a trial and of a run in a storage."""

from __future__ import annotations

import shutil
import time
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.storage.storage import Storage

STATES = "checkpoint_"  # how the folders of a trial's own states begin


RAY_STATE = ("tuner.pkl", "experiment_state-*.json", "basic-variant-state-*.json")
"""Ray's own snapshot of a run, which a resume does not use and which holds pickles."""
NOT_COPIED = ("run.lock", "ray.log", *RAY_STATE)


SEND_SECONDS = 5.0  # what a driver that dies may leave out; trials tell it again


STATES_KEPT = 2  # of a trial: the newest may be half written when its node is lost


class Mirror:
    """A local folder and its copy in the storage.

    Args:
        storage: where the copy is.
        folder: the local one.
        under: the copy's name in the storage.
    """

    def __init__(self, storage: Storage, folder: Path, under: str = "") -> None:
        self.storage = storage
        self.folder = folder
        self.under = under
        self._same: dict[str, tuple[int, int]] = {}  # bytes and time here of what is there, too

    def _name(self, relative: str) -> str:
        return f"{self.under}/{relative}" if self.under else relative

    def pull(self, *, states: bool = True) -> None:
        """Make the local folder hold what is there; `states`: also the states of trials."""
        for name, (_, mtime_ns) in self.storage.files(self.under).items():
            relative = PurePosixPath(name).relative_to(self.under)
            if any(map(is_left_out, relative.parts)):  # in a store ".." is a name
                continue
            if states or not any(part.startswith(STATES) for part in relative.parts[:-1]):
                target = self.folder / relative
                self.storage.fetch(name, target, mtime_ns)
                self._same[str(relative)] = _stamp(target)

    def push(self, *, deep: bool = True) -> None:
        """Copy what changed here; then remove there what is gone here.

        Args:
            deep: also what is in folders; else nothing is removed.
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
    """What the driver keeps in the storage: all methods do nothing where there is none.

    Args:
        storage: of the run.
        folder: the output folder, whose own files are copied; trials copy theirs.

    Raises:
        ConfigurationError: the storage is that folder, or holds it.
    """

    def __init__(self, storage: Storage | None, folder: Path) -> None:
        if storage:
            _check_apart(storage, folder)
        self.storage = storage
        self.folder = folder
        self._mirror = Mirror(storage, folder) if storage else None
        self._sent = 0.0

    def pull(self) -> None:
        """Take everything but the states of trials from the storage."""
        if self._mirror:
            self._mirror.pull(states=False)

    def where_newest(self, name: str, aside: Path) -> Path:
        """The folder where a file can be read that `pull` would take, without touching ours."""
        if self.storage and self.storage.holds(name):
            self.storage.fetch(name, aside / name)
            return aside
        return self.folder

    def pull_trial(self, name: str, *, states: bool = True) -> None:
        """Take a trial's files from the storage; `states`: also what it would go on from."""
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
        """Remove from the storage what is no longer in the trial's folder here."""
        if self.storage:
            for there in self.storage.files(name):
                if not (self.folder / there).exists():
                    self.storage.remove(there)


def _check_apart(storage: Storage, folder: Path) -> None:
    """Raises ConfigurationError where copies would take the place of what is being written.

    Or where the output folder would be copied into itself, once more at each resume.
    """
    from pyarrow import fs

    if not isinstance(storage.filesystem, fs.LocalFileSystem):
        return
    root, here = Path(storage.root or "/").resolve(), folder.resolve()
    if root == here or root in here.parents:
        raise ConfigurationError(
            "--storage: must be a folder that neither is nor holds --output-dir, which is copied "
            f"there, got {storage.place} for {folder}; name another one, or leave --storage out "
            "where every node sees --output-dir"
        )


def state_folder(epoch: int) -> str:
    """The name of the folder of a trial's own state after an epoch."""
    return f"{STATES}{epoch:06d}"


def keep_state(folder: Path, state: str, epoch: int) -> None:
    """Take a folder with a state into a trial's own one; the newest two stay."""
    shutil.copytree(state, folder / state_folder(epoch), dirs_exist_ok=True)
    for old in sorted(folder.glob(f"{STATES}*"))[:-STATES_KEPT]:
        shutil.rmtree(old)


def _files(folder: Path, deep: bool) -> list[Path]:
    """The files in a folder that are worth a copy, sorted."""
    found = folder.rglob("*") if deep else folder.glob("*")
    return sorted(p for p in found if p.is_file() and not is_left_out(p.name))


def is_left_out(name: str) -> bool:
    """Whether a file of that name is not copied: a temporary one, or one of this machine alone."""
    return any(fnmatch(name, pattern) for pattern in (".*", *NOT_COPIED))


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
