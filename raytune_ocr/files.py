"""Writing files so that nothing is lost, aside first, then replaced; and no folder for nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)  # of an OSError: there is no space left


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path to write to; on success it becomes `path`, on an error `path` is untouched.

    Parent folders are made. The bytes are on the disk before the name points to them.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield aside
        with aside.open("rb+") as written:
            os.fsync(written.fileno())
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def follow_no_link(path: str, flags: int) -> int:
    """An `opener` for `open`: raises OSError where `path` is a link, which others may have made."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)


def why_not_writable(path: Path) -> str:
    """Why a file cannot be written at `path`; "" if it can. Nothing is left of the attempt."""
    made: list[Path] = []
    try:
        if path.is_dir():
            return os.strerror(errno.EISDIR)
        made = make_folder(path.parent)
        aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        aside.touch()
        aside.unlink()
    except OSError as error:
        return error.strerror or str(error)
    finally:
        remove_if_empty(made)
    return ""


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and its parents; returns those that were not there, the innermost first."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return made


def remove_if_empty(folders: Iterable[Path]) -> None:
    """Remove folders, the innermost first, up to one with something in it."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
