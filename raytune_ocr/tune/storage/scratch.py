"""Temporary folders that belong to a process, and what a killed one has left of them.

The owner holds a lock on a file in the folder. The kernel frees the lock when the process ends,
however it ends; a folder with a free lock is nobody's, and the next run removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

SCRATCH = "raytune_ocr_"  # how names of scratch folders begin
OWNER = ".raytune_ocr_owner"


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold a folder inside the block, so that `remove_ownerless` leaves it."""
    mark = os.open(folder / OWNER, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(mark, b"\n")  # an empty mark is about to be locked
        yield
    finally:
        os.close(mark)


def remove_ownerless(folders: Iterable[Path]) -> list[Path]:
    """Remove the folders that a process owned which has ended; return them.

    Folders without a mark, links, and folders of other users stay.
    """
    return [folder for folder in folders if _is_own(folder) and _remove_if_free(folder)]


def _is_own(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _remove_if_free(folder: Path) -> bool:
    try:
        mark = os.open(folder / OWNER, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.fstat(mark).st_size:
            return False
        shutil.rmtree(folder, ignore_errors=True)
        return True
    except OSError:  # its owner is alive
        return False
    finally:
        os.close(mark)
