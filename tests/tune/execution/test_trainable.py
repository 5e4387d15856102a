"""Which state a trial is resumed from."""

import os

from raytune_ocr.training.state_files import write_state
from raytune_ocr.tune.execution.trainable import newest_state


def test_the_newest_state_is_that_of_the_latest_epoch_whatever_the_clock_said(tmp_path):
    for folder, epoch, seconds in (("000001", 8, 100), ("000002", 9, 50), ("000003", 3, 900)):
        path = tmp_path / f"checkpoint_{folder}" / "state.pt"
        write_state(path, {"epoch": epoch})
        os.utime(path, (seconds, seconds))
    assert newest_state(tmp_path).parent.name == "checkpoint_000002"


def test_a_damaged_or_incomplete_state_is_passed_over(tmp_path, caplog):
    write_state(tmp_path / "checkpoint_1" / "state.pt", {"epoch": 1})
    write_state(tmp_path / "checkpoint_2" / "state.pt", {"weights": 1})
    (tmp_path / "checkpoint_3").mkdir()
    (tmp_path / "checkpoint_3" / "state.pt").write_bytes(b"PK")
    assert newest_state(tmp_path).parent.name == "checkpoint_1"
    assert "checkpoint_3" in caplog.text and "must hold epoch" in caplog.text
    assert newest_state(tmp_path / "nothing") is None
