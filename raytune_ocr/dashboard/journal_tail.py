"""Read the entries that a journal gained since the last time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from raytune_ocr.results.journal import STATE_FILE
from raytune_ocr.results.journal_lines import read_line


class JournalTail:
    """Reads a journal from where it stopped the last time.

    Args:
        folder: the run's output folder.

    Attributes:
        restarts: how often it began at the first line; a run rewrites its journal as it begins and
            ends.
        damaged: lines that could not be read since the last restart.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / STATE_FILE
        self.restarts = 0
        self.damaged = 0
        self._offset = 0
        self._inode = 0

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """Return new entries, and whether they are all of the file since it was rewritten.

        A last line without its end is left for the next call.
        """
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return [], False
        with file:
            restarted = self._restarted(file.fileno())
            file.seek(self._offset)
            lines = file.read().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        self._offset += sum(map(len, lines))
        return self._entries(lines), restarted

    def _restarted(self, descriptor: int) -> bool:
        there = os.fstat(descriptor)
        if there.st_ino == self._inode and there.st_size >= self._offset:
            return False
        self._inode, self._offset, self.damaged = there.st_ino, 0, 0
        self.restarts += 1
        return True

    def _entries(self, lines: list[bytes]) -> list[dict[str, Any]]:
        entries = []
        for line in lines:
            try:
                entries.append(read_line(line))
            except ValueError:
                self.damaged += 1
        return entries
