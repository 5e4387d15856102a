"""Where a run is kept when its machines share no folder: any place that pyarrow can write to.

A run works in folders of its machines: the driver in `--output-dir`, a trial in a scratch folder
of its node. What they write is copied to the storage after each epoch and taken from there when a
run is resumed or a trial starts again elsewhere. A file there is the old one or the new one, never
half.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path, PurePosixPath
from typing import Any

from raytune_ocr.errors import ConfigurationError

PART = ".part"  # of a name that is being written
STATES = "checkpoint_"  # how the folders of a trial's own states begin
NOT_COPIED = ("run.lock", "ray.log")
SEND_SECONDS = 5.0  # what a driver that dies may leave out; trials tell it again
STATES_KEPT = 2


class Storage:
    """A folder in one of pyarrow's file systems; names in it are relative, with "/".

    Args:
        filesystem: a `pyarrow.fs.FileSystem`; it is pickled to the workers.
        root: the folder's path in it.
        place: how people call it, for messages.
    """

    def __init__(self, filesystem: Any, root: str, place: str | None = None) -> None:
        self.filesystem = filesystem
        self.root = root.rstrip("/")
        self.place = place or self.root

    @classmethod
    def at(cls, place: str | os.PathLike[str] | Storage) -> Storage:
        """The storage at a URI or in a folder.

        Raises:
            ConfigurationError: a URI that pyarrow cannot use.
        """
        from pyarrow import fs

        if isinstance(place, Storage):
            return place
        text = os.fspath(place)
        try:
            if "://" not in text:
                return cls(fs.LocalFileSystem(), str(Path(text).absolute()), text)
            filesystem, root = fs.FileSystem.from_uri(text)
            if not root:
                raise ValueError("it names no bucket or folder")
            return cls(filesystem, root, text)
        except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
            raise ConfigurationError(
                f"--storage: must be a folder or a URI that pyarrow can write to (s3://, gs://, "
                f"abfs://, file://), got {text!r}: {error}; mount anything else as a folder, under "
                "the same path on every node"
            ) from None

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def files(self, under: str = "") -> dict[str, tuple[int, int]]:
        """Names of all files below a folder, with their bytes and times (ns)."""
        from pyarrow import fs

        selector = fs.FileSelector(self._path(under), recursive=True, allow_not_found=True)
        found = self.filesystem.get_file_info(selector)
        return {
            str(PurePosixPath(info.path).relative_to(self.root)): (info.size, info.mtime_ns or 0)
            for info in found
            if info.type == fs.FileType.File and not info.path.endswith(PART)
        }

    def write(self, name: str, content: bytes) -> None:
        """Write a small file there."""
        path = self._path(name)
        self.filesystem.create_dir(str(PurePosixPath(path).parent), recursive=True)
        with self.filesystem.open_output_stream(path) as written:
            written.write(content)

    def holds(self, name: str) -> bool:
        """Whether a file of that name is there."""
        from pyarrow import fs

        return bool(self.filesystem.get_file_info(self._path(name)).type == fs.FileType.File)

    def read(self, name: str) -> bytes:
        """What a small file there holds."""
        with self.filesystem.open_input_stream(self._path(name)) as file:
            return bytes(file.read())

    def send(self, source: Path, name: str) -> None:
        """Copy a file there, aside and then in place."""
        path = self._path(name)
        self.filesystem.create_dir(str(PurePosixPath(path).parent), recursive=True)
        with source.open("rb") as read, self.filesystem.open_output_stream(path + PART) as written:
            shutil.copyfileobj(read, written, 2**20)
        self.filesystem.move(path + PART, path)

    def fetch(self, name: str, target: Path, mtime_ns: int = 0) -> None:
        """Copy a file from there, its time kept: states are told apart by it."""
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}{PART}")
        with self.filesystem.open_input_stream(self._path(name)) as read, aside.open("wb") as file:
            shutil.copyfileobj(read, file, 2**20)
        if mtime_ns:
            os.utime(aside, ns=(mtime_ns, mtime_ns))
        aside.replace(target)

    def remove(self, name: str) -> None:
        """Remove a file that is there."""
        self.filesystem.delete_file(self._path(name))

    def remove_folder(self, name: str) -> None:
        """Remove a folder and all that is in it, if it is there."""
        from pyarrow import fs

        path = self._path(name)
        if self.filesystem.get_file_info(path).type == fs.FileType.Directory:
            self.filesystem.delete_dir(path)


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
            if any(part.startswith(".") for part in relative.parts):  # in a store ".." is a name
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
    return sorted(
        p for p in found if p.is_file() and not p.name.startswith(".") and p.name not in NOT_COPIED
    )


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
