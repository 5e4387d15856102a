"""Where written bytes go: beside and then in place, through links, into devices and pipes."""

import errno
import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest
import torch

from raytune_ocr.files import follow_no_link, is_disk_full, replacing, why_not_writable


def write(path, text="new", **options):
    with replacing(path, **options) as aside:
        aside.write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write(path, "old")
    with pytest.raises(ValueError, match="half"), replacing(path) as aside:
        aside.write_text("half")
        raise ValueError("half")
    assert path.read_text() == "old" and names(path.parent) == ["b.txt"]


def test_a_file_has_the_mode_of_the_umask_whatever_a_library_made_of_it(tmp_path):
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "a") as aside:
            aside.unlink()
            os.close(os.open(aside, os.O_CREAT | os.O_WRONLY, 0o600))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_link_that_the_user_named_is_followed(tmp_path):
    target = tmp_path / "shared" / "best.json"
    target.parent.mkdir()
    target.write_text("old")
    (tmp_path / "link").symlink_to(target)
    write(tmp_path / "link", follow_links=True)
    assert (tmp_path / "link").is_symlink() and target.read_text() == "new"


def test_a_link_under_a_name_of_the_run_is_replaced_and_its_target_kept(tmp_path):
    target = tmp_path / "precious"
    target.write_text("old")
    (tmp_path / "link").symlink_to(target)
    write(tmp_path / "link")
    assert not (tmp_path / "link").is_symlink() and (tmp_path / "link").read_text() == "new"
    assert target.read_text() == "old"


def test_a_pipe_is_written_to(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read = []
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    write(path)
    reader.join(60)
    assert read == ["new"] and stat.S_ISFIFO(path.lstat().st_mode)


def test_a_device_stays_one(tmp_path):
    write("/dev/null")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert why_not_writable(tmp_path / "x") == ""


@pytest.mark.parametrize("redirection", ["| cat", "> out; cat out", ">> out; cat out"])
def test_standard_output_is_written_to_whatever_it_is(tmp_path, redirection):
    code = (
        "from raytune_ocr.files import replacing\n"
        "print('before')\n"
        "with replacing('/dev/stdout') as aside: aside.write_text('csv\\n')\n"
        "print('after')\n"
    )
    (tmp_path / "code.py").write_text(code)
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} code.py {redirection}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert done.stdout == "before\ncsv\nafter\n", done.stderr


def test_what_cannot_be_written_is_said_and_nothing_is_left(tmp_path):
    (tmp_path / "file").touch()
    assert why_not_writable(tmp_path) == "Is a directory"
    assert why_not_writable(tmp_path / "file" / "x")
    assert why_not_writable(tmp_path / "new" / "x") == ""
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert why_not_writable(tmp_path / "circle", follow_links=True)
    assert names(tmp_path) == ["circle", "file"]


FULL = "/dev/full"  # every write to it finds no space left


def by_json(path):
    with open(path, "w") as file:  # noqa: PTH123
        json.dump(["x" * 100_000], file)


def by_pandas(path):
    pd.DataFrame({"a": range(100_000)}).to_csv(path)


def by_torch_to_a_path(path):
    torch.save({"weights": torch.zeros(1_000_000)}, path)


def by_torch_to_a_file(path):
    with open(path, "wb") as file:  # noqa: PTH123
        torch.save({"weights": torch.zeros(1_000_000)}, file)


def by_tensorboard(path):
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.summary.writer.record_writer import RecordWriter

    assert EventFileWriter
    with open(path, "wb") as file:  # noqa: PTH123
        writer = RecordWriter(file)
        writer.write(b"x" * 1_000_000)
        writer.flush()


@pytest.mark.skipif(not Path(FULL).exists(), reason="no /dev/full")
@pytest.mark.parametrize(
    "write_badly", [by_json, by_pandas, by_torch_to_a_path, by_torch_to_a_file, by_tensorboard]
)
def test_a_full_disk_is_known_whoever_tells_it(write_badly):
    with pytest.raises((OSError, RuntimeError)) as caught:
        write_badly(FULL)
    assert is_disk_full(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EDQUOT, "quota"),
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),
        RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
        ValueError("I/O error: No space left on device (os error 28)"),
        sqlite3.OperationalError("database or disk is full"),
    ],
    ids=lambda error: str(error)[:20],
)
def test_a_full_disk_is_known_by_its_words(error):
    assert is_disk_full(error)
    try:
        try:
            raise error
        except Exception as first:
            raise RuntimeError("it did not work") from first
    except RuntimeError as second:
        assert is_disk_full(second)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), RuntimeError("out of memory")])
def test_other_errors_are_no_full_disk(error):
    assert not is_disk_full(error)


def test_the_file_that_there_was_no_room_for_is_named(tmp_path):
    (tmp_path / "a.json").write_text("old")
    with pytest.raises(OSError) as caught, replacing(tmp_path / "a.json"):
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_link_is_not_followed_where_others_may_have_made_it(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError), open(tmp_path / "link", "a", opener=follow_no_link):
        pass
    assert not (tmp_path / "victim").exists()
