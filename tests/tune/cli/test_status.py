"""The status of a run is read from its folder alone."""

import dataclasses
import subprocess
import sys

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.results.steering.orders import entry_of, new_order
from raytune_ocr.results.steering.run_lock import RunLock
from raytune_ocr.tune.__main__ import main
from raytune_ocr.tune.cli.status import page, read_status, waiting

METRIC = "val_char_accuracy"


@pytest.fixture
def run(tmp_path):
    """A run with a running, a finished, a queued and a paused trial."""
    names = ("fast", "done", "queued", "held")
    records = {
        name: TrialRecord(
            TrainingConfig(experiment_name=name, num_epochs=4, learning_rate=10.0**-number)
        )
        for number, name in enumerate(names, 2)
    }
    for name, epochs in (("fast", 2), ("done", 4), ("held", 1)):
        for epoch in range(1, epochs + 1):
            records[name].add({"epoch": epoch, "seconds": 3.0, METRIC: epoch / 10})
    records["fast"].status, records["held"].status = "running", "paused"
    records["done"].complete("max_epochs")
    journal = Journal(tmp_path / "out")
    journal.rewrite(records, {"timestamp": "20260101_000000", "results_file": "r.json"})
    journal.append_decisions([entry_of(new_order("pause", "held", who="me@here"), 1)])
    journal.close()
    return tmp_path / "out"


def test_a_running_run_says_who_runs_it_what_is_best_and_what_the_others_wait_for(run):
    with RunLock(run):
        shown = page(read_status(run))
    assert "held by process" in shown and "elapsed" in shown and "about 00:27 left" in shown
    assert f"best so far: done with {METRIC} 0.4000" in shown
    assert "1 queued: 1 running trials use the resources" in shown
    assert "held waits for an order to resume it (me@here paused it)" in shown
    lines = {line.split()[0]: line for line in shown.splitlines()}
    assert lines["trial"].split() == ["trial", "epoch", "best", "learning_rate", "state"]
    assert lines["fast"].split() == ["fast", "2/4", "0.2000", "0.01", "running"]
    assert lines["done"].endswith("completed (max_epochs)")


def test_without_a_process_a_resume_is_what_trials_wait_for(run, capsys):
    assert main(["status", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "no process runs it" in shown and "3 unfinished trials wait for a --resume" in shown
    assert main(["status", str(run), "--watch"]) == 0  # there is nothing to wait for


def test_a_narrow_terminal_shows_fewer_settings_but_every_trial_and_state(run):
    shown = page(read_status(run), width=45)
    assert "learning_rate" not in shown and "completed (max_epochs)" in shown


def test_trials_that_do_not_fit_a_low_terminal_are_counted(run):
    with RunLock(run):
        shown = page(read_status(run), height=8).splitlines()
    assert len(shown) <= 8 and shown[3].startswith("fast") and "and 2 more" in shown


def test_a_trial_that_an_order_stopped_before_its_first_epoch_waits_for_nothing(run):
    journal = Journal(run)
    journal.read()
    journal.open()
    journal.append_decisions([entry_of(new_order("stop", "queued", who="me@here"), 0)])
    journal.close()
    status = read_status(run)
    assert sorted(status.trials) == ["done", "fast", "held"]
    assert waiting(status)[-1] == "2 unfinished trials wait for a --resume"


def test_a_folder_without_a_run_is_an_error(tmp_path, capsys):
    assert main(["status", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_neither_ray_nor_torch_is_imported(run):
    code = (
        "import sys\nfrom raytune_ocr.tune.__main__ import main\n"
        f"main(['status', {str(run)!r}])\n"
        "assert not {'ray', 'torch'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_trials_that_a_scheduler_has_paused_are_counted_apart_from_queued_ones(run):
    status = read_status(run)
    status.trials["queued"].status = status.trials["fast"].status = "paused"
    status.trials["done"].status = "pending"
    with RunLock(run):
        held = read_status(run)
    lines = waiting(dataclasses.replace(held, trials=status.trials))
    assert "2 paused by the scheduler until it has compared them" in lines
    assert any(line.startswith("1 queued") for line in lines)
