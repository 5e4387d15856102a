"""Lock an output folder for one run at a time."""

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
WHOLE_FILE = "hhqqi0q"  # struct flock: type, whence, start, length, pid
HELD_BY_OTHERS = (errno.EACCES, errno.EAGAIN)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class RunLock:
    """A lock that the system releases when its owner ends, however it ends, also over NFS.

    The folder is made if it is missing, and removed at the end if it is empty. On a file system
    without locks, the file itself is the lock: one that a killed run left must be forced.

    Args:
        folder: the output folder.
        force: take the folder even if another run holds it.

    Raises:
        ConfigurationError: on entering, if another run holds the lock (names its owner and start),
            or no file can be made there.
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
        """Open and lock the file; return False if its owner has removed it meanwhile."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(self.path, flags, 0o644)
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise OSError(errno.EINVAL, f"{LOCK_FILE} is not a regular file")
        try:
            lock(self._file)
        except OSError as error:
            if error.errno not in (*HELD_BY_OTHERS, *NO_LOCKS):
                raise
            if error.errno in HELD_BY_OTHERS or self._read():
                raise self._in_use() from None
            logger.warning(
                "%s: this file system does not support locks, so two runs may use the folder at "
                "once: %s",
                self.path,
                error,
            )
        if self._is_ours():
            return True
        self._close()
        return False

    def _sign(self) -> None:
        """Write the owner to the file; log a warning if an earlier owner left it."""
        if self._read():
            logger.warning("%s: replaces the lock of %s, which has ended", self.path, self._owner())
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "user": _user()}
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps({**owner, "since": time.time()}).encode(), 0)

    def _is_ours(self) -> bool:
        """Whether the path is still the locked file: another run may have forced it."""
        try:
            return os.path.samestat(self.path.lstat(), os.fstat(self._file))
        except OSError:  # removed, or not open
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
            f"{self.path.parent}: in use by {owner}; wait until it ends, or choose another "
            "--output-dir (--force-unlock ignores the lock)"
        )

    def _not_writable(self, error: OSError) -> ConfigurationError:
        link = f"{LOCK_FILE} is a symbolic link" if error.errno == errno.ELOOP else ""
        return ConfigurationError(
            f"--output-dir: must be a writable folder, got "
            f"{self.path.parent}: {link or error.strerror}"
        )

    def _owner(self) -> str:
        try:
            return _described(self._read())
        except OSError:
            return "another run"


def holder(folder: Path) -> str:
    """Return the process that runs the run in a folder, in words; "" if none does.

    Nothing is written or locked, so it also works for a reader without the right to write.
    """
    try:
        file = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return _described(os.pread(file, 1000, 0)) if is_locked(file) else ""
    finally:
        os.close(file)


def _described(signature: bytes) -> str:
    """Return the owner that a lock file names, in words."""
    try:
        owner = json.loads(signature)
        age = clock(time.time() - float(owner["since"]))
        return f"process {owner['pid']} of {owner['user']} on {owner['host']}, for {age}"
    except (ValueError, KeyError, TypeError):
        return "another run"


def is_locked(file: int) -> bool:
    """Whether another open file description holds the lock of an open file.

    On a file system without locks, the file's existence is the lock.
    """
    try:
        if not hasattr(fcntl, "F_OFD_GETLK"):  # not Linux
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        asked = struct.pack(WHOLE_FILE, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        found = struct.unpack(WHOLE_FILE, fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked))
    except OSError as error:
        return error.errno in (*HELD_BY_OTHERS, *NO_LOCKS)
    return bool(found[0] != fcntl.F_UNLCK)


def lock(file: int) -> None:
    """Lock an open file exclusively, without waiting.

    The lock belongs to the open file description: unlike a POSIX lock, it survives when this
    process reads the file; unlike `flock`, it is a lock of the server on NFS.

    Raises:
        OSError: another process holds it, or the file system has no locks.
    """
    if not hasattr(fcntl, "F_OFD_SETLK"):  # not Linux
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    whole_file = struct.pack(WHOLE_FILE, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, whole_file)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())
