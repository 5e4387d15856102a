"""One run at a time in an output folder, and no empty folder of one that never began."""

from __future__ import annotations

import errno
import fcntl
import getpass
import json
import logging
import os
import socket
import stat
import struct
import time
from pathlib import Path
from typing import Any

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.files import make_folder, remove_if_empty
from raytune_ocr.progress import clock

logger = logging.getLogger(__name__)

LOCK_FILE = "run.lock"
HELD_BY_OTHERS = (errno.EACCES, errno.EAGAIN)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class RunLock:
    """A lock that the system keeps until its owner ends, however it ends, also over NFS.

    The folder is made if it is absent, and taken away again if it is empty at the end. On a file
    system without locks, the file itself is the lock: one that was left over must be forced.

    Args:
        folder: the output folder.
        force: take the folder even if somebody holds it.

    Raises:
        ConfigurationError: on entering, when another run holds it (tells whose and since when), or
            no file can be made there.
    """

    def __init__(self, folder: Path, force: bool = False) -> None:
        self.path = folder / LOCK_FILE
        self.force = force
        self._file = -1
        self._made: list[Path] = []

    def __enter__(self) -> RunLock:
        try:
            self._made = make_folder(self.path.parent)
            if self.force:
                self.path.unlink(missing_ok=True)
            while not self._take():
                pass
            self._sign()
        except OSError as error:
            self._close()
            remove_if_empty(self._made)
            raise self._not_writable(error) from None
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._is_ours():
            self.path.unlink(missing_ok=True)
        self._close()
        remove_if_empty(self._made)

    def _take(self) -> bool:
        """Open and lock the file; False where its owner has removed it in the meantime."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(self.path, flags, 0o644)
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise OSError(errno.EINVAL, f"{LOCK_FILE} is no regular file")
        try:
            lock(self._file)
        except OSError as error:
            if error.errno not in (*HELD_BY_OTHERS, *NO_LOCKS):
                raise
            if error.errno in HELD_BY_OTHERS or self._read():
                raise self._in_use() from None
            logger.warning("%s: this file system has no locks: %s", self.path, error)
        if self._is_ours():
            return True
        self._close()
        return False

    def _sign(self) -> None:
        """Write who holds it; a file that its owner did not remove is told."""
        if self._read():
            logger.warning("%s: left over by %s, which has ended", self.path, self._owner())
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "user": _user()}
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps({**owner, "since": time.time()}).encode(), 0)

    def _is_ours(self) -> bool:
        """Whether the path still means the file that is locked: it may have been forced away."""
        try:
            return os.path.samestat(self.path.lstat(), os.fstat(self._file))
        except OSError:  # gone, or nothing is open
            return False

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _read(self) -> bytes:
        return os.pread(self._file, 1000, 0)

    def _in_use(self) -> ConfigurationError:
        owner = self._owner()
        self._close()
        return ConfigurationError(
            f"{self.path.parent}: in use by {owner}; wait for it or choose another "
            "--output-dir (--force-unlock takes it nevertheless)"
        )

    def _not_writable(self, error: OSError) -> ConfigurationError:
        link = f"{LOCK_FILE} is a link, which is not followed" if error.errno == errno.ELOOP else ""
        return ConfigurationError(
            f"--output-dir: must be a folder that files can be written to, got "
            f"{self.path.parent}: {link or error.strerror}"
        )

    def _owner(self) -> str:
        try:
            owner = json.loads(self._read())
            age = clock(time.time() - float(owner["since"]))
            return f"process {owner['pid']} of {owner['user']} on {owner['host']}, for {age}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another run"


def lock(file: int) -> None:
    """Lock an open file exclusively, at once or not at all.

    A lock of the open file description: unlike POSIX locks it is not lost when somebody in this
    process reads the file, and unlike `flock` it is one of the server's where NFS maps it.

    Raises:
        OSError: another one holds it, or the file system has no locks.
    """
    if not hasattr(fcntl, "F_OFD_SETLK"):  # no Linux
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    whole_file = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, whole_file)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())
