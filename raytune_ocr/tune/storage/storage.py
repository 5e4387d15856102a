"""Store a run where its machines share no folder: anywhere that pyarrow can write.

The driver works in `--output-dir`, a trial in a scratch folder of its node. Their files are copied
to the storage after each epoch, and from it when a run is resumed or a trial starts on another
node. A file there is complete: the old one or the new one.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.text import masked

PART = ".part"  # suffix of a file that is being written


class Storage:
    """A folder in one of pyarrow's file systems; names in it are relative, with "/".

    Args:
        filesystem: a `pyarrow.fs.FileSystem`; it is pickled to the workers.
        root: the folder's path in it.
        place: its URI or path, for messages.
    """

    def __init__(self, filesystem: Any, root: str, place: str | None = None) -> None:
        self.filesystem = filesystem
        self.root = root.rstrip("/")
        self.place = masked(place or self.root)

    @classmethod
    def at(cls, place: str | os.PathLike[str] | Storage) -> Storage:
        """Return the storage at a URI or in a folder.

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
                raise ValueError("the URI has no bucket or folder")
            return cls(filesystem, root, text)
        except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
            raise ConfigurationError(
                f"--storage: must be a folder or a URI that pyarrow can write to (s3://, gs://, "
                f"abfs://, file://), got {masked(text)!r}: {masked(str(error))}; "
                "mount other storage as a folder, with the same path on every node"
            ) from None

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def files(self, under: str = "") -> dict[str, tuple[int, int]]:
        """Return the names of all files below a folder, with their sizes (bytes) and times (ns)."""
        from pyarrow import fs

        selector = fs.FileSelector(self._path(under), recursive=True, allow_not_found=True)
        found = self.filesystem.get_file_info(selector)
        return {
            str(PurePosixPath(info.path).relative_to(self.root)): (info.size, info.mtime_ns or 0)
            for info in found
            if info.type == fs.FileType.File and not info.path.endswith(PART)
        }

    def write(self, name: str, content: bytes) -> None:
        """Write a small file."""
        path = self._path(name)
        self.filesystem.create_dir(str(PurePosixPath(path).parent), recursive=True)
        with self.filesystem.open_output_stream(path) as written:
            written.write(content)

    def holds(self, name: str) -> bool:
        """Whether a file of that name exists."""
        from pyarrow import fs

        return bool(self.filesystem.get_file_info(self._path(name)).type == fs.FileType.File)

    def read(self, name: str) -> bytes:
        """Return the content of a small file."""
        with self.filesystem.open_input_stream(self._path(name)) as file:
            return bytes(file.read())

    def send(self, source: Path, name: str) -> None:
        """Copy a local file to the storage, under a temporary name first."""
        path = self._path(name)
        self.filesystem.create_dir(str(PurePosixPath(path).parent), recursive=True)
        with source.open("rb") as read, self.filesystem.open_output_stream(path + PART) as written:
            shutil.copyfileobj(read, written, 2**20)
        self.filesystem.move(path + PART, path)

    def fetch(self, name: str, target: Path, mtime_ns: int = 0) -> None:
        """Copy a file from the storage, and keep its time, by which states are compared."""
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}{PART}")
        with self.filesystem.open_input_stream(self._path(name)) as read, aside.open("wb") as file:
            shutil.copyfileobj(read, file, 2**20)
        if mtime_ns:
            os.utime(aside, ns=(mtime_ns, mtime_ns))
        aside.replace(target)

    def remove(self, name: str) -> None:
        """Remove a file."""
        self.filesystem.delete_file(self._path(name))

    def set_aside(self, time: str) -> None:
        """Move all files to a folder beside this one, named after `time`.

        Raises:
            ConfigurationError: this is a whole bucket, or they cannot be moved.
        """
        parent, _, name = self.root.rpartition("/")
        if not parent:
            raise ConfigurationError(
                "--overwrite: needs a --storage inside a bucket or folder, to move the earlier run "
                f"beside it, got {self.place}; name another --storage"
            )
        aside = Storage(self.filesystem, f"{parent}/{name}_{time}_{secrets.token_hex(2)}")
        for file in self.files():
            target = aside._path(file)
            self.filesystem.create_dir(str(PurePosixPath(target).parent), recursive=True)
            self.filesystem.move(self._path(file), target)

    def remove_folder(self, name: str) -> None:
        """Remove a folder with its content, if it exists."""
        from pyarrow import fs

        path = self._path(name)
        if self.filesystem.get_file_info(path).type == fs.FileType.Directory:
            self.filesystem.delete_dir(path)
