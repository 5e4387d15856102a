"""One run at a time in a folder: real processes, links that others left."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.steering import run_lock
from raytune_ocr.results.steering.run_lock import LOCK_FILE, RunLock, holder

ROOT = Path(__file__).parents[3]
CONTENDER = """
import os, sys
from pathlib import Path
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.steering.run_lock import RunLock
folder = Path(sys.argv[1])
taken = 0
while taken < 50:
    try:
        with RunLock(folder):
            inside = os.open(folder / "inside", os.O_CREAT | os.O_EXCL)  # nobody else is
            os.close(inside)
            os.unlink(folder / "inside")
            taken += 1
    except ConfigurationError:
        pass
"""


def test_only_one_is_inside_however_many_try(tmp_path):
    (tmp_path / "stays").touch()
    command = [sys.executable, "-c", CONTENDER, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    contenders = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [process.wait() for process in contenders] == [0, 0, 0]


def test_a_link_is_not_followed(tmp_path):
    target = tmp_path / "precious"
    target.write_text("of the user")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LOCK_FILE).symlink_to(target)
    with pytest.raises(ConfigurationError, match="is a symbolic link"), RunLock(tmp_path / "out"):
        pass
    assert target.read_text() == "of the user"
    with RunLock(tmp_path / "out", force=True):
        assert target.read_text() == "of the user"


def test_a_lock_that_a_killed_run_left_is_reported(tmp_path, caplog):
    (tmp_path / LOCK_FILE).write_text('{"pid": 7, "host": "gone", "user": "me", "since": 0}')
    with RunLock(tmp_path):
        assert "replaces the lock of process 7 of me on gone" in caplog.text


def test_reading_the_lock_does_not_give_it_away(tmp_path):
    with RunLock(tmp_path) as held:
        held.path.read_text()
        refused = []

        def enter():
            try:
                RunLock(tmp_path).__enter__()
            except ConfigurationError as error:
                refused.append(str(error))

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        assert f"in use by process {os.getpid()}" in refused[0]


def test_where_a_file_system_has_no_locks_the_file_is_the_lock(tmp_path, monkeypatch):
    def no_locks(file):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(run_lock, "lock", no_locks)
    with RunLock(tmp_path):
        with pytest.raises(ConfigurationError, match="in use by process"), RunLock(tmp_path):
            pass
        with RunLock(tmp_path, force=True):
            pass


def test_a_reader_sees_who_holds_a_run_without_touching_it(tmp_path):
    assert holder(tmp_path) == ""
    with RunLock(tmp_path):
        assert f"process {os.getpid()} of " in holder(tmp_path)
        (tmp_path / LOCK_FILE).chmod(0o444)
        assert holder(tmp_path)
        with pytest.raises(ConfigurationError, match="in use by process"), RunLock(tmp_path):
            pass
    (tmp_path / LOCK_FILE).write_text("a killed run left it")
    assert holder(tmp_path) == ""
