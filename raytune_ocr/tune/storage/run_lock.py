"""One run at a time in an output folder, and no empty folder of one that never began."""

from __future__ import annotations

import fcntl
import getpass
import json
import logging
import os
import socket
import time
from pathlib import Path
from typing import IO, Any

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.files import make_folder, remove_if_empty
from raytune_ocr.progress import clock

logger = logging.getLogger(__name__)

LOCK_FILE = "run.lock"


class RunLock:
    """A file lock that the system gives back when its owner ends, however it ends.

    The folder is made if it is absent, and taken away again if it is empty at the end.

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
        self._file: IO[str] | None = None
        self._made: list[Path] = []

    def __enter__(self) -> RunLock:
        self._file = self._open()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ConfigurationError(
                f"{self.path.parent}: in use by {self._owner()}; wait for it or choose another "
                "--output-dir (--force-unlock takes it nevertheless)"
            ) from None
        except OSError as error:  # a file system without locks
            logger.warning("%s: cannot be locked: %s", self.path, error)
        self._file.truncate(0)
        json.dump(
            {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "user": _user(),
                "since": time.time(),
            },
            self._file,
        )
        self._file.flush()
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._file is not None:
            if self._is_ours():
                self.path.unlink(missing_ok=True)
            self._file.close()
        remove_if_empty(self._made)

    def _open(self) -> IO[str]:
        try:
            self._made = make_folder(self.path.parent)
            if self.force:
                self.path.unlink(missing_ok=True)
            return self.path.open("a+", encoding="utf-8")
        except OSError as error:
            remove_if_empty(self._made)
            raise ConfigurationError(
                f"--output-dir: must be a folder that files can be written to, got "
                f"{self.path.parent}: {error.strerror}"
            ) from None

    def _is_ours(self) -> bool:
        """Whether the path still means the file that is locked: it may have been forced away."""
        assert self._file is not None
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False

    def _owner(self) -> str:
        try:
            owner = json.loads(self.path.read_text(encoding="utf-8"))
            age = clock(time.time() - owner["since"])
            return f"process {owner['pid']} of {owner['user']} on {owner['host']}, for {age}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another run"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())
