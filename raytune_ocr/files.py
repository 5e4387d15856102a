"""Writing files so that nothing is lost, aside first, then replaced; and no folder for nothing."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)  # of an OSError: there is no space left
SAYS_DISK_FULL = re.compile(
    "|".join(
        (
            *(re.escape(os.strerror(number)) for number in DISK_FULL),
            r"unexpected pos \d+ vs \d+",  # torch.save, whose stream got shorter than it wrote
            r"PytorchStreamWriter failed writing",
            r"database or disk is full",  # SQLite
            r"OutOfDiskError|Local disk is full",  # Ray
        )
    )
)
"""In the text of an error: there is no space left, in the words of each library that writes."""


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or what led to it, is that there is no space left."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, OSError) and chain.errno in DISK_FULL:
            return True
        if isinstance(chain, Exception) and SAYS_DISK_FULL.search(str(chain)):
            return True
        chain = chain.__cause__ or chain.__context__
    return False


def disk_full(path: str | os.PathLike[str]) -> OSError:
    """That there was no space left for a file."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path to write to; on success it becomes `path`, on an error `path` is untouched.

    Parent folders are made. The bytes are on the disk before the name points to them.

    Raises:
        OSError: with ENOSPC and the path where there is no space left, whatever library says so.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield aside
        with aside.open("rb+") as written:
            os.fsync(written.fileno())
        aside.replace(target)
    except Exception as error:
        if is_disk_full(error):
            raise disk_full(target) from error
        raise
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
