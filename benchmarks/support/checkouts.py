"""Other revisions of this repository, and processes of theirs that take turns."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """The files of a git revision in a folder of their own.

    Raises:
        SystemExit: git does not know it.
    """
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", revision], capture_output=True)
    if packed.returncode:
        raise SystemExit(f"--against: must be a git revision; {packed.stderr.decode().strip()}")
    with tempfile.TemporaryDirectory(prefix="rev") as folder:
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)


def environment_of(source: Path) -> dict[str, str]:
    """The environment of a process that imports the package from the folder `source`."""
    return {**os.environ, "PYTHONPATH": str(source)}


class Worker:
    """A process that runs a program with the package of `source`, and answers in JSON lines.

    Args:
        program: a Python file that reads orders from standard input, a line each.
        arguments: of its command line.
    """

    def __init__(self, program: Path, source: Path, *arguments: str) -> None:
        self._name = f"{program.name} {' '.join(arguments[:1])} of {source}"
        self._process = subprocess.Popen(
            [sys.executable, str(program), *arguments],
            env=environment_of(source),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, order: str) -> Any:
        """Send an order and return the answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._name}: ended without an answer")
        return json.loads(answer)

    def end(self) -> None:
        """Close its input, and wait for its end."""
        self._process.communicate()
