"""What the run makes of Ray's events; Ray's own trials stand in as plain objects."""

from types import SimpleNamespace

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.results.decision import CONTINUE, PAUSE
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.results.steering.orders import new_order
from raytune_ocr.training.checkpoints.run_folder import ERROR_LOG
from raytune_ocr.tune.execution.console import ProgressReport
from raytune_ocr.tune.execution.ray_executor import ray_callback
from raytune_ocr.tune.execution.ray_executor.ray_callback import RayCallback
from raytune_ocr.tune.execution.run import Run
from raytune_ocr.tune.options import TuneOptions
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.search_space import read_space
from raytune_ocr.tune.storage.mirror import RunCopy

WENT_AWAY = "The actor died unexpectedly before finishing this task."
OWN_ERROR = (
    '  File "/home/me/model.py", line 3, in forward\n    raise ValueError("odd")\nValueError: odd'
)


class Actor:
    _actor_id = b"actor"


class RayTrial:
    """As much of one of Ray's trials as the callback looks at."""

    def __init__(self, name, folder, timeout=None):
        self.trial_id, self.status, self.max_failures = name, "RUNNING", 1
        self.config = {"experiment_name": name, "timeout": timeout}
        self.run_metadata = SimpleNamespace(num_failures=0)
        self.temporary_state = SimpleNamespace(ray_actor=Actor())
        self.error_file = folder / f"{name}.txt"

    def fails(self, error):
        """As Ray notes it before it tells anybody."""
        self.run_metadata.num_failures += 1
        self.error_file.write_text(f"Failure # {self.run_metadata.num_failures}\n{error}\n")

    @property
    def is_tried_again(self):
        return self.run_metadata.num_failures <= self.max_failures


@pytest.fixture
def kernel(monkeypatch):
    """The count of the kernel's kills, to be raised."""
    count = {"": 0}
    monkeypatch.setattr(ray_callback, "oom_kills_here", lambda: count)
    return count


@pytest.fixture
def callback(tmp_path, kernel):
    folder = tmp_path / "out"
    folder.mkdir()
    experiments = {name: {"training": {"num_epochs": 9}} for name in ("a", "b")}
    options = TuneOptions(scheduler="none")
    run = Run(folder, options, RunCopy(None, folder), "t", tmp_path / "results.json")
    run.start(
        read_space({"experiments": experiments}, "s", output_dir=str(folder)), KnownPoints(), False
    )
    run.save_state()
    cluster = SimpleNamespace(address=None, avoid=lambda node: False, waits_for=lambda request: "")
    made = RayCallback(run, cluster, ProgressReport(run.records), lambda: None, lambda: False)
    yield made
    run.journal.close()


def report(callback, trial, epoch):
    row = {"epoch": epoch, "val_char_accuracy": 0.5, "train_loss": 1.0, "seconds": 1.0}
    callback.report(trial, row)


def test_an_epoch_that_was_there_before_is_no_progress(callback, tmp_path):
    trial = RayTrial("a", tmp_path)
    report(callback, trial, 1)
    attempts = 0
    while trial.is_tried_again:
        attempts += 1
        report(callback, trial, 1)  # as a trial does that goes on from its state
        trial.fails(OWN_ERROR)
    assert attempts == 2
    callback.on_trial_error(1, [trial], trial)
    record = callback.run.records["a"]
    assert (record.status, record.error_message) == ("failed", "ValueError: odd")


def test_a_new_epoch_is_progress_also_after_epochs_that_were_done_again(callback, tmp_path):
    trial = RayTrial("a", tmp_path)
    for epoch in (1, 2, 3):
        report(callback, trial, epoch)
    trial.fails(WENT_AWAY)
    for epoch in (1, 2, 3):  # its newest states were lost
        report(callback, trial, epoch)
        assert trial.run_metadata.num_failures == 1
    report(callback, trial, 4)
    assert trial.run_metadata.num_failures == 0


def test_a_process_that_goes_away_again_and_again_is_not_taken_for_progress(callback, tmp_path):
    trial = RayTrial("a", tmp_path)
    report(callback, trial, 1)
    trial.fails(WENT_AWAY)
    callback.on_trial_error(1, [trial], trial)
    assert callback.lost == {"a"}  # it had got on, so that another round may help
    again = RayCallback(
        callback.run, callback.cluster, callback.progress, lambda: None, lambda: False
    )
    report(again, trial, 1)
    trial.fails(WENT_AWAY)
    again.on_trial_error(1, [trial], trial)
    assert not again.lost and callback.run.records["a"].status == "failed"
    log = callback.run.output_dir / "a" / ERROR_LOG
    assert WENT_AWAY in log.read_text()  # which the process could not write


def test_an_error_is_reported_with_the_users_own_frames(callback, tmp_path, capsys):
    callback.progress = ProgressReport(callback.run.records)  # which prints to what is captured
    trial = RayTrial("a", tmp_path)
    trial.fails(OWN_ERROR)
    callback.on_trial_recover(1, [trial], trial)
    callback.on_trial_error(1, [trial], trial)
    output = capsys.readouterr()
    assert "a: retrying after ValueError: odd" in output.out
    assert "failed (error): ValueError: odd" in output.out
    assert "/home/me/model.py:3 in forward" in output.err


def test_a_drained_node_is_no_failure_of_the_trial(callback, tmp_path, capsys):
    callback.progress = ProgressReport(callback.run.records)
    trial = RayTrial("a", tmp_path)
    for _ in range(3):
        trial.fails("raytune_ocr.errors.NodeDrainedError: the node is being drained")
        callback.on_trial_recover(1, [trial], trial)
    assert trial.is_tried_again
    assert "a: its node is being drained; it continues on another node" in capsys.readouterr().out
    callback.on_trial_error(1, [trial], trial)  # as with --max-failures 0
    assert callback.lost == {"a"} and callback.run.records["a"].status != "failed"


@pytest.mark.parametrize("words", ["No space left on device", "unexpected pos 64 vs 0"])
def test_a_full_disk_ends_the_run_and_leaves_the_trial_unfinished(callback, tmp_path, words):
    trial = RayTrial("a", tmp_path)
    trial.fails(f"RuntimeError: {words}")
    callback.on_trial_error(1, [trial], trial)
    assert words in callback.run.recorder.failure
    assert callback.run.records["a"].status != "failed"


@pytest.mark.parametrize(("epochs", "status"), [(0, "failed"), (2, "completed")])
def test_a_process_that_hangs_is_ended_and_not_tried_again(
    callback, tmp_path, monkeypatch, epochs, status
):
    killed = []
    monkeypatch.setattr(ray_callback.ray, "kill", killed.append)
    monkeypatch.setattr("raytune_ocr.tune.execution.ray_executor.trial_timeout.HANGING", 0.0)
    own_id = "raytune_ocr.tune.execution.ray_executor.ray_callback.actor_id"
    monkeypatch.setattr(own_id, lambda trial: "id")
    hanging, other = RayTrial("a", tmp_path, timeout=0.0), RayTrial("b", tmp_path, timeout=100.0)
    for trial in (hanging, other):
        callback.on_trial_start(1, [hanging, other], trial)
    for epoch in range(1, epochs + 1):
        report(callback, hanging, epoch)
    callback.on_step_end(1, [hanging, other])
    assert killed == [hanging.temporary_state.ray_actor]
    record = callback.run.records["a"]
    assert (record.status, record.stop_reason) == (status, "trial_timeout")
    hanging.fails(WENT_AWAY)
    assert not hanging.is_tried_again
    callback.on_trial_error(1, [hanging, other], hanging)
    assert (record.status, record.stop_reason) == (status, "trial_timeout")


def test_a_process_that_the_kernel_killed_for_memory_is_tried_with_half_the_batch(
    callback, kernel, tmp_path
):
    trial, record = RayTrial("a", tmp_path), callback.run.records["a"]
    kernel[""] += 1
    trial.fails(WENT_AWAY)
    callback.on_trial_recover(1, [trial], trial)
    assert trial.config["config"]["batch_size"] == record.used["batch_size_used"] == 16
    assert trial.run_metadata.num_failures == 0
    trial.fails(WENT_AWAY)  # and the kernel has not counted another one
    callback.on_trial_recover(1, [trial], trial)
    assert record.used["batch_size_used"] == 16 and trial.run_metadata.num_failures == 1


def test_a_trial_without_attempts_left_that_the_kernel_killed_is_run_again_down_to_a_batch_of_one(
    callback, kernel, tmp_path
):
    record = callback.run.records["a"]
    sizes = []
    while not record.is_finished:
        trial = RayTrial("a", tmp_path)
        kernel[""] += 1
        trial.fails(WENT_AWAY)
        callback.on_trial_error(1, [trial], trial)
        sizes.append(record.config_used.batch_size)
    assert sizes == [16, 8, 4, 2, 1, 1] and "a" in callback.lost
    assert record.status == "failed" and "with a batch of one" in record.error_message


def test_pauses_of_a_function_that_saves_nothing_are_mentioned_once(callback, tmp_path):
    said = []
    callback.progress.say = said.append
    callback.run.study.scheduler.next_milestone = lambda trial: 1
    for name in ("a", "b"):
        row = {"epoch": 1, "val_char_accuracy": 0.5, "seconds": 1.0, "without_state": True}
        assert callback.report(RayTrial(name, tmp_path), row) == PAUSE
    assert len(said) == 1 and "saves nothing (context.save)" in said[0]


class OneNode:
    """A cluster of a node, all of which is in use."""

    def nodes(self):
        return [{"CPU": 2.0}]

    def waits_for(self, request):
        return "for 1 CPU on one node: 2 of 2 CPUs are in use"


@pytest.mark.parametrize("status", ["PENDING", "RUNNING"])
def test_trials_whose_processes_are_just_starting_wait_for_nothing(
    tmp_path, monkeypatch, capsys, status
):
    monkeypatch.setattr(ray_callback, "WAITING_SECONDS", 0.0)
    first, second = RayTrial("a", tmp_path), RayTrial("b", tmp_path)
    first.status, second.status = status, "PENDING"
    for trial in (first, second):
        trial.config["request"] = {"cpu": 1}
    records = [TrialRecord(TrainingConfig(experiment_name=name)) for name in ("a", "b")]
    progress = ProgressReport({record.name: record for record in records})
    ray_callback.Waiting(OneNode(), progress).look([first, second])
    said = "b waits for 1 CPU on one node: 2 of 2 CPUs are in use\n"
    assert capsys.readouterr().out == ("" if status == "PENDING" else said)
    assert bool(progress.waiting) == (status == "RUNNING")


def test_a_trial_that_is_stopped_before_its_first_epoch_ends_alone(callback, tmp_path, monkeypatch):
    killed = []
    monkeypatch.setattr(ray_callback.ray, "kill", killed.append)
    monkeypatch.setattr(ray_callback, "actor_id", lambda trial: trial.trial_id)
    first, second = RayTrial("a", tmp_path), RayTrial("b", tmp_path)
    for trial in (first, second):
        callback.on_trial_start(1, [first, second], trial)
    run = callback.run
    run.orders.on_release = callback.release
    assert run.orders.carry_out(new_order("stop", "a")) == "removed before its first epoch"
    assert killed == [first.temporary_state.ray_actor] and list(run.records) == ["b"]
    assert callback.report(first, {"epoch": 1, "val_char_accuracy": 0.5}) == CONTINUE
    first.fails(WENT_AWAY)
    callback.on_trial_error(1, [first, second], first)
    assert list(run.records) == ["b"] and run.recorder.failure == ""
