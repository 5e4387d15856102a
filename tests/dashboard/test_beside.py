import os
import subprocess
import sys

import pytest

from raytune_ocr.dashboard import beside
from raytune_ocr.dashboard.beside import page_of


@pytest.fixture
def started(monkeypatch):
    """The processes that were started in the place of the server."""
    processes = []

    def start(words, **options):
        assert options["start_new_session"]
        sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
        processes.append((words, Popen(sleeper)))
        return processes[-1][1]

    Popen = subprocess.Popen
    monkeypatch.setattr(beside.subprocess, "Popen", start)
    return processes


def test_the_page_is_served_until_the_run_ends(started, tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt), page_of(tmp_path):
        ((words, process),) = started
        assert words[1:] == [
            *("-m", "raytune_ocr.dashboard", str(tmp_path)),
            *("--wait", "--parent", str(os.getpid())),
        ]
        assert process.poll() is None
        raise KeyboardInterrupt
    assert process.poll() is not None
    assert capsys.readouterr().out == (
        "dashboard: ended with the run; to see it again: "
        f"python -m raytune_ocr.dashboard {tmp_path}\n"
    )
