"""Ctrl-C and SIGTERM where no trial trains yet, and in a script of a user's own."""

import json
import signal

import pytest

from raytune_ocr.errors import ExperimentFailedError
from raytune_ocr.tune import HyperparameterTuner
from raytune_ocr.tune.cluster.ray_patches import no_signal_handlers
from raytune_ocr.tune.execution.ray_executor.trial_runner import TrialRunner
from raytune_ocr.tune.execution.signals import Interrupted, Interruptions
from tests.fixtures.materials import train_record

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_ray_starts_waits_until_it_is_up(number):
    done = []
    with pytest.raises(KeyboardInterrupt) as caught, Interruptions(print, print) as interruptions:
        with interruptions.deferred():
            signal.raise_signal(number)
            done.append("started")
        done.append("trained")
    assert done == ["started"]
    if number == signal.SIGINT:
        assert type(caught.value) is KeyboardInterrupt  # a script exits with 130 for no other
    else:
        assert caught.value.number == number


def test_a_signal_while_ray_fails_to_start_says_how_the_process_ends():
    with (
        pytest.raises(Interrupted) as caught,
        Interruptions(print, print) as interruptions,
        interruptions.deferred(),
    ):
        signal.raise_signal(signal.SIGTERM)
        raise ExperimentFailedError("Ray does not start")
    assert caught.value.number == signal.SIGTERM


def test_ray_does_not_take_sigterm_away():
    import ray

    before = signal.getsignal(signal.SIGTERM)
    with no_signal_handlers():
        ray._private.utils.set_sigterm_handler(lambda number, frame: None)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_script_hears_of_a_signal_once_all_is_saved(tmp_path, monkeypatch, number):
    def interrupted(runner, unfinished, resuming):
        runner.run.forget_old()
        runner.run.save_state()
        first, _ = unfinished
        train_record(first, 2, 0.9)
        runner.run.report(first, {"stop_reason": "max_epochs"})
        runner.interruptions.received = number

    monkeypatch.setattr(TrialRunner, "train", interrupted)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text("experiments: {a: {}, b: {}}")
    tuner = HyperparameterTuner("space.yaml", output_dir="out", results_file="r.json")
    with pytest.raises(KeyboardInterrupt):
        tuner.run_experiments()
    results = json.loads((tmp_path / "r.json").read_text())["all_results"]
    assert [result["experiment_name"] for result in results] == ["a"]
    assert not tuner.run.journal.is_open and tuner.has_begun()
