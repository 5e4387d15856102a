"""Serve the page of a run beside it, in a process of its own."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GIVE_UP_SECONDS = 5.0


@contextmanager
def page_of(folder: Path) -> Iterator[None]:
    """Serve the page of a run in `folder`; the process prints its URL, and ends with this one.

    It has a session of its own, so that Ctrl-C ends the run first.
    """
    words = ["-m", "raytune_ocr.dashboard", str(folder), "--wait", "--parent", str(os.getpid())]
    process = subprocess.Popen(
        [sys.executable, *words], stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(GIVE_UP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        again = shlex.join(["python", "-m", "raytune_ocr.dashboard", str(folder)])
        print(f"dashboard: ended with the run; to see it again: {again}", flush=True)
