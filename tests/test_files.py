"""Files that are written whole or not at all, also where there is no room."""

import errno
import json
import os
import sqlite3

import pandas as pd
import pytest
import torch

from raytune_ocr.files import follow_no_link, is_disk_full, replacing

FULL = "/dev/full"  # every write to it finds no space left
pytestmark = pytest.mark.skipif(not os.path.exists(FULL), reason="no /dev/full")  # noqa: PTH110


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


@pytest.mark.parametrize(
    "write", [by_json, by_pandas, by_torch_to_a_path, by_torch_to_a_file, by_tensorboard]
)
def test_a_full_disk_is_known_whoever_tells_it(write):
    with pytest.raises((OSError, RuntimeError)) as caught:
        write(FULL)
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
