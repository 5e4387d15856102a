"""What a run has written is there after anything that ends it, and as far as it is not damaged."""

import errno
import itertools
import json
import math
import os
import resource
import signal
import subprocess
import sys

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.decision import CONTINUE, EXPLOIT, STOP, Decision
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.journal_lines import FORMAT
from raytune_ocr.results.record import TrialRecord

ABOUT = {"timestamp": "now", "results_file": "r.json"}
RUNG = Decision("asha", "a", 2, CONTINUE, {"score": 0.5})
STOPPED = Decision("asha", "b", 2, STOP, {"score": None})
CLONED = {"parent": "a", "replaces": "b", "settings": {"learning_rate": 0.1}}
COPIED = Decision("pbt", "a_g1", 2, EXPLOIT, CLONED)


def records(*names, **settings):
    return {n: TrialRecord(TrainingConfig(experiment_name=n, **settings)) for n in names}


def report(record, epoch, loss=0.5):
    record.add({"epoch": epoch, "train_loss": loss, "seconds": 1.0})


def test_what_was_written_is_read_back(tmp_path):
    journal, kept = Journal(tmp_path), records("a", "b")
    journal.rewrite(kept, ABOUT)
    report(kept["a"], 1)
    journal.append(kept["a"])
    report(kept["a"], 2, math.nan)
    kept["a"].status, kept["a"].stop_reason = "completed", "max_epochs"
    kept["a"].used = {"batch_size_used": 8}
    journal.append(kept["a"], [RUNG])
    journal.append_decisions([STOPPED, COPIED])
    journal.append_fact("test_split", {"trial": "a", "figures": {"images": 3}})
    journal.close()

    again, loaded = Journal(tmp_path), records("a", "b")
    assert again.load(loaded) == {"format": FORMAT, **ABOUT}
    assert again.decisions == journal.decisions == [RUNG, STOPPED, COPIED]
    facts = {"test_split": [{"trial": "a", "figures": {"images": 3}}]}
    assert again.facts == journal.facts == facts
    assert loaded["b"].status == "pending"
    assert (loaded["a"].status, loaded["a"].stop_reason) == ("completed", "max_epochs")
    assert loaded["a"].used == {"batch_size_used": 8}
    assert [row["epoch"] for row in loaded["a"].epochs] == [1, 2]
    assert math.isnan(loaded["a"].epochs[1]["train_loss"])


def test_all_of_it_is_there_after_it_was_written_anew(tmp_path):
    journal, kept = Journal(tmp_path), records("a", "b")
    journal.rewrite(kept, ABOUT)
    report(kept["a"], 1)
    journal.append(kept["a"], [RUNG])
    journal.append_decisions([STOPPED])
    journal.append_fact("known", {"source": "r.json"})
    before = journal.read()
    journal.rewrite(kept, ABOUT)
    assert journal.read() == before
    assert not list(tmp_path.glob("*.damaged"))


def test_a_report_and_what_was_decided_on_it_are_one_line(tmp_path):
    journal, kept = Journal(tmp_path), records("a")
    journal.rewrite(kept, ABOUT)
    before = journal.path.read_bytes()
    report(kept["a"], 2)
    journal.append(kept["a"], [RUNG])
    lines = journal.path.read_bytes().removeprefix(before).splitlines(keepends=True)
    assert len(lines) == 1
    journal.path.write_bytes(before + lines[0][:-2])  # neither without the other
    replay = Journal(tmp_path).read()
    assert replay.trials["a"].epochs == [] == replay.decisions


def test_a_report_adds_one_line_however_many_came_before(tmp_path):
    journal, kept = Journal(tmp_path), records("a")
    journal.rewrite(kept, ABOUT)
    sizes = [journal.path.stat().st_size]
    for epoch in range(1, 200):
        report(kept["a"], epoch)
        journal.append(kept["a"])
        sizes.append(journal.path.stat().st_size)
    added = [after - before for before, after in itertools.pairwise(sizes)]
    assert max(added) - min(added) < 5


def test_an_epoch_that_was_done_again_replaces_the_first(tmp_path):
    journal, kept = Journal(tmp_path), records("a")
    journal.rewrite(kept, ABOUT)
    for epoch, loss in ((1, 0.1), (2, 0.2), (3, 0.3), (2, 0.25)):
        report(kept["a"], epoch, loss)
        journal.append(kept["a"])
    rows = Journal(tmp_path).read().trials["a"].epochs
    assert [(row["epoch"], row["train_loss"]) for row in rows] == [(1, 0.1), (2, 0.25)]


def test_half_a_line_at_the_end_is_passed_over_and_not_kept(tmp_path):
    journal, kept = Journal(tmp_path), records("a")
    journal.rewrite(kept, ABOUT)
    report(kept["a"], 1)
    journal.append(kept["a"])
    whole = journal.path.read_bytes()
    report(kept["a"], 2)
    journal.append(kept["a"])
    torn = journal.path.read_bytes()
    for end in range(len(whole), len(torn) - 1):
        journal.path.write_bytes(torn[:end])
        again, loaded = Journal(tmp_path), records("a")
        again.load(loaded)
        assert [row["epoch"] for row in loaded["a"].epochs] == [1]
    again.rewrite(loaded, ABOUT)
    report(loaded["a"], 2)
    again.append(loaded["a"])
    assert len(Journal(tmp_path).read().trials["a"].epochs) == 2
    assert not (tmp_path / "run_state.jsonl.damaged").exists()


def damage(path, number):
    """Flip a byte in the middle of that line; returns the line as it is then."""
    lines = path.read_bytes().splitlines(keepends=True)
    line = bytearray(lines[number - 1])
    line[len(line) // 2] ^= 1
    lines[number - 1] = bytes(line)
    path.write_bytes(b"".join(lines))
    return bytes(line)


def five_epochs(folder):
    """The journal of one trial: its first line, the trial, and a line for each of five epochs."""
    journal, kept = Journal(folder), records("a")
    journal.rewrite(kept, ABOUT)
    for epoch in range(1, 6):
        report(kept["a"], epoch)
        journal.append(kept["a"], [Decision("asha", "a", epoch, CONTINUE, {"score": 0.5})])
    journal.close()
    return journal


def test_a_damaged_line_in_the_middle_is_passed_over_and_what_follows_stays(tmp_path, caplog):
    path = five_epochs(tmp_path).path
    line = damage(path, 5)
    replay = Journal(tmp_path).read()
    assert [row["epoch"] for row in replay.trials["a"].epochs] == [1, 2, 4, 5]
    assert [decision.epoch for decision in replay.decisions] == [1, 2, 4, 5]
    assert replay.damaged == {5: line}
    assert f"{path}: skipped damaged lines: 5" in caplog.text


def test_damaged_lines_are_kept_beside_it_before_it_is_written_anew(tmp_path, caplog):
    path = five_epochs(tmp_path).path
    damaged = [damage(path, number) for number in (4, 6)]
    journal, loaded = Journal(tmp_path), records("a")
    journal.load(loaded)
    journal.rewrite(loaded, ABOUT)
    journal.close()
    copy = tmp_path / "run_state.jsonl.damaged"
    assert copy.read_bytes() == b"".join(damaged)
    assert f"copied damaged lines to {copy.name}" in caplog.text
    assert Journal(tmp_path).read().damaged == {}
    damaged.append(damage(path, 2))
    journal = Journal(tmp_path)
    journal.load(records("a"))
    assert copy.read_bytes() == b"".join(damaged)  # those of before are still there


def test_a_cut_off_last_line_is_not_kept_but_one_in_the_middle_with_it_is(tmp_path, caplog):
    path = five_epochs(tmp_path).path
    path.write_bytes(path.read_bytes()[:-9])
    Journal(tmp_path).load(records("a"))
    copy = tmp_path / "run_state.jsonl.damaged"
    assert not copy.exists() and not caplog.text
    line = damage(path, 3)
    Journal(tmp_path).load(records("a"))
    assert copy.read_bytes().startswith(line)


WRITER = """
import sys
from raytune_ocr.config import TrainingConfig
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.record import TrialRecord
journal, record = Journal(sys.argv[1]), TrialRecord(TrainingConfig(experiment_name="a"))
journal.rewrite({"a": record}, {"timestamp": "now", "results_file": "r.json"})
for epoch in range(1, 10**9):
    record.add({"epoch": epoch, "train_loss": 0.5, "seconds": 1.0})
    record.epochs = record.epochs[-3:]
    journal.append(record)
    print(epoch, flush=True)
"""


def test_a_killed_writer_has_lost_nothing_that_it_wrote(tmp_path):
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


def test_a_full_disk_leaves_what_was_written_whole(tmp_path):
    journal, kept = Journal(tmp_path), records("a")
    journal.rewrite(kept, ABOUT)
    report(kept["a"], 1)
    journal.append(kept["a"])
    size = journal.path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
    report(kept["a"], 2)
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            journal.append(kept["a"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert journal.path.stat().st_size == size
    journal.append(kept["a"])
    assert len(Journal(tmp_path).read().trials["a"].epochs) == 2


def test_experiments_left_out_of_a_resume_are_not_forgotten(tmp_path):
    journal, kept = Journal(tmp_path), records("a", "b")
    kept["b"].status = "completed"
    journal.rewrite(kept, ABOUT)
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
def test_a_journal_without_its_first_line_is_reported_with_the_way_out(tmp_path, left):
    journal = Journal(tmp_path)
    journal.rewrite(records("a", "b"), ABOUT)
    journal.close()
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join(lines[left]))
    found = rf"{journal.path}: damaged: the first line, .* --warm-start {tmp_path} "
    with pytest.raises(ConfigurationError, match=found):
        Journal(tmp_path).load(records("a", "b"))


def test_a_journal_of_a_later_format_is_refused(tmp_path):
    journal = Journal(tmp_path)
    journal.rewrite(records("a"), {**ABOUT, "format": FORMAT + 1})
    with pytest.raises(ConfigurationError, match=f"has format 3, .* up to {FORMAT}; resume"):
        Journal(tmp_path).load(records("a"))


def test_trials_are_taken_up_later_where_the_file_has_them(tmp_path):
    journal, kept = Journal(tmp_path), records("a", "a-seed101", "a-seed102")
    for name, record in kept.items():
        report(record, 1)
        record.status = "completed" if name != "a" else "pending"
    journal.rewrite(kept, ABOUT)
    journal.close()
    again = Journal(tmp_path)
    again.load(records("a"))
    later = {**records("a-seed101", "a-seed103"), **records("a-seed102", seed=9)}
    assert again.take_up(later) == {"a-seed101"}  # one was begun with other settings
    assert [record.status for record in later.values()] == ["completed", "pending", "pending"]
    assert len(later["a-seed101"].epochs) == 1


def test_the_decisions_of_format_1_get_the_name_of_the_runs_scheduler(tmp_path):
    lines = [
        {"run": {**ABOUT, "scheduler": "hyperband"}},
        {"trial": "a", "status": "running", "rows": []},
        {"rung": {"trial": "a", "epoch": 2, "score": 0.5, "stopped": False}},
    ]
    Journal(tmp_path).path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (decision,) = Journal(tmp_path).read().decisions
    assert decision == Decision("hyperband", "a", 2, CONTINUE, {"score": 0.5})
