"""Write files atomically: to a temporary file that then replaces the old one.

How paths are treated:

- A device, a pipe or a socket is written to, never replaced, also `/dev/stdout`, whatever standard
  output is.
- A link that the user named (`follow_links=True`: `--csv`, `--results-file`) is followed: its
  target is replaced, and the link stays.
- A link with a name that a run chose itself (a checkpoint, a journal, a table) is not followed: the
  file replaces the link, and the link's target stays as it was.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)  # of an OSError: no space left
MOST_LINKS = 40  # the limit of Linux
SAYS_DISK_FULL = re.compile(
    "|".join(
        (
            *(re.escape(os.strerror(number)) for number in DISK_FULL),
            r"unexpected pos \d+ vs \d+",  # torch.save: the stream is shorter than written
            r"PytorchStreamWriter failed writing",
            r"database or disk is full",  # SQLite
            r"OutOfDiskError|Local disk is full",  # Ray
        )
    )
)
"""Texts by which libraries report that no space is left."""


def is_disk_full(error: BaseException) -> bool:
    """Whether an error or one of its causes is a full disk."""
    return disk_full_in(error) is not None


def disk_full_in(error: BaseException) -> BaseException | None:
    """Return the full disk among an error and its causes, the one that names a file if there is."""
    found: BaseException | None = None
    chain: BaseException | None = error
    while chain is not None:
        if _says_disk_full(chain):
            found = found or chain
            if isinstance(chain, OSError) and chain.filename:
                return chain
        chain = chain.__cause__ or chain.__context__
    return found


def _says_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return True
    return isinstance(error, Exception) and SAYS_DISK_FULL.search(str(error)) is not None


def disk_full(path: str | os.PathLike[str]) -> OSError:
    """Return the error of a full disk for a file."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@contextmanager
def naming_disk_full(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the error of a full disk, whatever library reports it, into an OSError with the path."""
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            raise disk_full(path) from error
        raise


@contextmanager
def replacing(path: str | os.PathLike[str], *, follow_links: bool = False) -> Iterator[Path]:
    """Yield a path to write to; on success it becomes `path`, on an error `path` is untouched.

    Parent folders are made. The bytes are on the disk before the name points to them, and the file
    has the mode of the umask.

    Args:
        follow_links: whether a link at `path` means the file that it points to.

    Raises:
        OSError: with ENOSPC and the path if the disk is full, whatever library reports it.
    """
    target = Path(path)
    if _is_stream(target, follow_links):
        with _copied_into(target) as aside:
            yield aside
        return
    if follow_links:
        target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with naming_disk_full(target):
            mode = _create(aside)
            yield aside
            with aside.open("rb+") as written:
                aside.chmod(mode)
                os.fsync(written.fileno())
            aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def follow_no_link(path: str, flags: int) -> int:
    """Open a file, as the `opener` of `open`; raise OSError if `path` is a symbolic link."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)


def why_not_writable(path: Path, *, follow_links: bool = False) -> str:
    """Return why a file cannot be written at `path`; "" if it can. The check leaves no file."""
    made: list[Path] = []
    try:
        if _is_stream(path, follow_links):
            return "" if os.access(path, os.W_OK) else os.strerror(errno.EACCES)
        if follow_links:
            path = path.resolve()
        if path.is_dir():
            return os.strerror(errno.EISDIR)
        made = make_folder(path.parent)
        aside = path.with_name(f".{secrets.token_hex(8)}.tmp")
        _create(aside)
        aside.unlink()
    except (OSError, RuntimeError) as error:  # links in a circle are a RuntimeError
        return getattr(error, "strerror", None) or str(error)
    finally:
        remove_if_empty(made)
    return ""


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and its parents; return those that were made, the innermost first."""
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


def _create(path: Path) -> int:
    """Make an empty file where nothing exists, not even a link; return its mode."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def _is_stream(path: Path, follow_links: bool) -> bool:
    """Whether `path` is a stream: a device, a pipe or a file descriptor."""
    if _descriptor(path, follow_links) is not None:
        return True
    try:
        mode = (path.stat() if follow_links else path.lstat()).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))


def _descriptor(path: Path, follow_links: bool) -> int | None:
    """Return the file descriptor that `path` names, as `/dev/stdout` names 1; else None."""
    for _ in range(MOST_LINKS):
        folder = os.path.realpath(path.parent)
        if folder == f"/proc/{os.getpid()}/fd" and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink() or not (follow_links or folder == "/dev"):
            return None
        path = Path(folder) / path.readlink()
    return None


@contextmanager
def _copied_into(stream: Path) -> Iterator[Path]:
    """Yield a temporary file; at the end, copy its bytes to `stream`."""
    with tempfile.TemporaryDirectory() as folder:
        aside = Path(folder) / "aside"
        aside.touch()
        yield aside
        number = _descriptor(stream, follow_links=True)
        if number is not None:
            with contextlib.suppress(AttributeError):  # a stream that was closed at the start
                (sys.stderr if number == 2 else sys.stdout).flush()
        opened = os.dup(number) if number is not None else os.open(stream, os.O_WRONLY)
        with aside.open("rb") as source, os.fdopen(opened, "wb") as sink:
            shutil.copyfileobj(source, sink)
