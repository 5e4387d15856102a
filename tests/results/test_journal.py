"""What a run has noted is there after anything that ends it."""

import errno
import itertools
import math
import os
import signal
import subprocess
import sys

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.record import TrialRecord

ABOUT = {"timestamp": "now", "results_file": "r.json"}


def records(*names, **settings):
    return {n: TrialRecord(TrainingConfig(experiment_name=n, **settings)) for n in names}


def report(record, epoch, loss=0.5):
    record.add({"epoch": epoch, "train_loss": loss, "seconds": 1.0})


def test_what_was_noted_is_read_back(tmp_path):
    state, noted = Journal(tmp_path), records("a", "b")
    state.rewrite(noted, ABOUT)
    report(noted["a"], 1)
    state.note(noted["a"])
    report(noted["a"], 2, math.nan)
    noted["a"].status, noted["a"].stop_reason = "completed", "max_epochs"
    noted["a"].used = {"batch_size_used": 8}
    state.note(noted["a"])
    state.keep("rung", {"trial": "a", "epoch": 2, "score": 0.5, "stopped": False})
    state.close()

    again, loaded = Journal(tmp_path), records("a", "b")
    assert again.load(loaded) == ABOUT
    assert again.notes == {
        "rung": [{"trial": "a", "epoch": 2, "score": 0.5, "stopped": False}],
    }
    assert loaded["b"].status == "pending"
    assert (loaded["a"].status, loaded["a"].stop_reason) == ("completed", "max_epochs")
    assert loaded["a"].used == {"batch_size_used": 8}
    assert [row["epoch"] for row in loaded["a"].epochs] == [1, 2]
    assert math.isnan(loaded["a"].epochs[1]["train_loss"])


def test_a_report_adds_one_line_however_many_came_before(tmp_path):
    state, noted = Journal(tmp_path), records("a")
    state.rewrite(noted, ABOUT)
    sizes = [state.path.stat().st_size]
    for epoch in range(1, 200):
        report(noted["a"], epoch)
        state.note(noted["a"])
        sizes.append(state.path.stat().st_size)
    added = [after - before for before, after in itertools.pairwise(sizes)]
    assert max(added) - min(added) < 5


def test_an_epoch_that_was_done_again_replaces_the_first(tmp_path):
    state, noted = Journal(tmp_path), records("a")
    state.rewrite(noted, ABOUT)
    for epoch, loss in ((1, 0.1), (2, 0.2), (3, 0.3), (2, 0.25)):
        report(noted["a"], epoch, loss)
        state.note(noted["a"])
    rows = Journal(tmp_path).read().trials["a"].epochs
    assert [(row["epoch"], row["train_loss"]) for row in rows] == [(1, 0.1), (2, 0.25)]


def test_half_a_line_at_the_end_is_left_out(tmp_path):
    state, noted = Journal(tmp_path), records("a")
    state.rewrite(noted, ABOUT)
    report(noted["a"], 1)
    state.note(noted["a"])
    whole = state.path.read_bytes()
    report(noted["a"], 2)
    state.note(noted["a"])
    torn = state.path.read_bytes()
    for end in range(len(whole), len(torn) - 1):
        state.path.write_bytes(torn[:end])
        again, loaded = Journal(tmp_path), records("a")
        again.load(loaded)
        assert [row["epoch"] for row in loaded["a"].epochs] == [1]
    again.rewrite(loaded, ABOUT)
    report(loaded["a"], 2)
    again.note(loaded["a"])
    assert len(Journal(tmp_path).read().trials["a"].epochs) == 2


WRITER = """
import sys
from raytune_ocr.config import TrainingConfig
from raytune_ocr.tune.results import TrialRecord
from raytune_ocr.tune.state import Journal
state, record = Journal(sys.argv[1]), TrialRecord(TrainingConfig(experiment_name="a"))
state.rewrite({"a": record}, {"timestamp": "now", "results_file": "r.json"})
for epoch in range(1, 10**9):
    record.add({"epoch": epoch, "train_loss": 0.5, "seconds": 1.0})
    record.epochs = record.epochs[-3:]
    state.note(record)
    print(epoch, flush=True)
"""


def test_a_killed_writer_has_lost_nothing_that_it_noted(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    for _ in range(500):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    said, _ = process.communicate()
    last = int(said.splitlines()[-1]) if said.endswith("\n") and said else 500
    epochs = [row["epoch"] for row in Journal(tmp_path).read().trials["a"].epochs]
    assert epochs == list(range(1, len(epochs) + 1))
    assert len(epochs) >= last


def test_a_full_disk_leaves_what_was_noted_whole(tmp_path):
    state, noted = Journal(tmp_path), records("a")
    state.rewrite(noted, ABOUT)
    report(noted["a"], 1)
    state.note(noted["a"])
    resource = pytest.importorskip("resource")
    size = state.path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
    report(noted["a"], 2)
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            state.note(noted["a"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert state.path.stat().st_size == size
    state.note(noted["a"])
    assert len(Journal(tmp_path).read().trials["a"].epochs) == 2


def test_experiments_left_out_of_a_resume_are_not_forgotten(tmp_path):
    state, noted = Journal(tmp_path), records("a", "b")
    noted["b"].status = "completed"
    state.rewrite(noted, ABOUT)
    again, only = Journal(tmp_path), records("a")
    again.load(only)
    again.rewrite(only, ABOUT)
    assert Journal(tmp_path).read().trials["b"].status == "completed"


def test_a_run_with_other_settings_is_refused(tmp_path):
    Journal(tmp_path).rewrite(records("a"), ABOUT)
    Journal(tmp_path).load(records("a", device="cpu"))
    (tmp_path / "a").mkdir()
    records("a", seed=3)["a"].config.save_yaml(tmp_path / "a" / "config.yaml")
    with pytest.raises(ConfigurationError, match=r"config \(a: batch_size was 32, is 33, seed"):
        Journal(tmp_path).load(records("a", batch_size=33))
    (tmp_path / "a" / "config.yaml").unlink()
    with pytest.raises(ConfigurationError, match=r"another config \(a\)"):
        Journal(tmp_path).load(records("a", batch_size=99))


@pytest.mark.parametrize("left", [slice(0, 0), slice(1, None), slice(1, 2)])
def test_a_state_without_its_first_line_is_told_with_the_way_out(tmp_path, left):
    state = Journal(tmp_path)
    state.rewrite(records("a", "b"), ABOUT)
    state.close()
    lines = state.path.read_bytes().splitlines(keepends=True)
    state.path.write_bytes(b"".join(lines[left]))
    told = rf"{state.path}: damaged: its first line, .* --warm-start {tmp_path} "
    with pytest.raises(ConfigurationError, match=told):
        Journal(tmp_path).load(records("a", "b"))
