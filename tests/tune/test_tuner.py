"""Whole runs on a real local Ray: processes that are killed are killed by real signals."""

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml
from ray.tune import ExperimentAnalysis

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.predict import main as predict
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.results.steering.run_lock import RunLock
from raytune_ocr.training import load_reader
from raytune_ocr.tune import HyperparameterTuner, export_ray, load_results
from raytune_ocr.tune.__main__ import main
from tests.fixtures.materials import allowed, command, words_of

ENDLESS = """
experiments:
  first:
    model: {{name: ctc_small}}
    training: {{num_epochs: {epochs}, batch_size: 16, use_tensorboard: false}}
    scheduler: {{type: none}}
    early_stopping: {{patience: 0}}
"""

LATER = """
  later:
    model: {{name: ctc_small}}
    training: {{num_epochs: 1, batch_size: 16, use_tensorboard: false}}
"""


def started(arguments):
    """The command line as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "raytune_ocr.tune", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_epoch(output, epoch, seconds=90):
    """Until the first trial has reported that epoch."""
    until = time.monotonic() + allowed(seconds)
    while time.monotonic() < until:
        first = Journal(output).read().trials.get("first")
        if first and first.epochs and first.epochs[-1]["epoch"] >= epoch:
            return
        time.sleep(0.1)
    raise AssertionError(f"epoch {epoch} was not reached in {seconds} s")


def read(path):
    def refuse(constant):
        raise AssertionError(f"{constant} in {path}")

    return json.loads(path.read_text(), parse_constant=refuse)


OF_A_FILE = """
experiments:
  first:
    model: {{name: ctc_small, config_path: settings.yaml}}
    training: {{num_epochs: 1, batch_size: 16, use_tensorboard: false}}
"""


@pytest.mark.slow
def test_a_relative_file_of_model_settings_holds_in_trials_and_for_who_reads_them(
    shared_ray, write_space, data, tmp_path, monkeypatch
):
    (tmp_path / "settings.yaml").write_text("dilations: [1, 2]\n")
    monkeypatch.chdir(tmp_path)
    assert main(command(write_space(OF_A_FILE), data, tmp_path / "output")) == 0
    monkeypatch.chdir(data)
    model, _ = load_reader(tmp_path / "output" / "first" / "checkpoints" / "best_model.pt")
    assert model.config["dilations"] == [1, 2]


def test_a_tuner_raises_the_builtin_errors_that_are_documented(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml"):
        HyperparameterTuner("nowhere.yaml")
    (tmp_path / "torn.yaml").write_text("experiments: [1,")
    with pytest.raises(yaml.YAMLError, match=r"torn\.yaml"):
        HyperparameterTuner("torn.yaml")
    (tmp_path / "space.yaml").write_text("experiments: {a: {model: {name: small}}}")
    tuner = HyperparameterTuner("space.yaml")
    config = tuner.load_config("space.yaml")
    assert config == {"experiments": {"a": {"model": {"name": "small"}}}}
    tuner.validate_config(config)
    with pytest.raises(yaml.YAMLError):
        tuner.load_config("torn.yaml")
    for wrong in ({}, {"experiments": {}}, {"experiments": {"a": {"training": {"batch_size": 0}}}}):
        with pytest.raises(ValueError, match="experiments"):
            tuner.validate_config(wrong)


@pytest.mark.slow
def test_presets_become_trials_and_trials_one_best_result(finished_run, data):
    output, printed = finished_run
    document = read(output.with_suffix(".json"))
    best = document["best_result"]
    assert document["experiments_completed"] == 2
    assert {r["experiment_name"] for r in document["all_results"]} == {"first", "second"}
    assert best["best_val_char_accuracy"] == max(
        r["best_val_char_accuracy"] for r in document["all_results"]
    )
    assert TrainingConfig.from_dict(best["config"]).experiment_name == best["experiment_name"]
    assert best["targets"]["character_accuracy"]["goal"] == 0.85

    epochs = pd.read_csv(output / "epochs.csv")
    for name, result in ((r["experiment_name"], r) for r in document["all_results"]):
        rows = epochs[epochs["experiment_name"] == name]
        assert list(rows["epoch"]) == list(range(1, result["total_epochs"] + 1))
        assert rows["val_char_accuracy"].max() == pytest.approx(result["best_val_char_accuracy"])
        assert (output / name / "config.yaml").exists()
        assert (output / name / "logs" / "training.log").exists()
    assert len(load_results(output)) == 2
    assert "Ranking" in printed and str(output / "trials.csv") in printed
    images = next((data / "val").parent.glob("val/*.png"))
    assert predict([str(output.with_suffix(".json")), str(images)]) == 0


@pytest.mark.slow
def test_rays_own_analysis_reads_a_run_that_was_trained(finished_run, tmp_path):
    output, _ = finished_run
    folder = Path(shutil.copytree(output, tmp_path / "copy"))
    export_ray(folder)
    analysis = ExperimentAnalysis(str(folder))
    frames = {str(each): analysis.trial_dataframes[each.trial_id] for each in analysis.trials}
    trained = pd.read_csv(output / "epochs.csv").groupby("experiment_name")
    assert {name: frame["val_char_accuracy"].tolist() for name, frame in frames.items()} == {
        name: rows["val_char_accuracy"].tolist() for name, rows in trained
    }
    best = read(output.with_suffix(".json"))["best_result"]
    config = analysis.get_best_config("val_char_accuracy", "max", scope="all")
    assert config["experiment_name"] == best["experiment_name"]


@pytest.mark.slow
def test_a_failing_trial_leaves_the_others_alone(shared_ray, write_space, data, tmp_path):
    text = """
experiments:
  diverges:
    model: {{name: ctc_small}}
    training: {{num_epochs: 2, learning_rate: 1e30, gradient_clip_norm: 0, use_tensorboard: false}}
    optimizer: {{type: sgd}}
    scheduler: {{type: none}}
  works:
    model: {{name: ctc_small}}
    training: {{num_epochs: 1, use_tensorboard: false}}
"""
    output = tmp_path / "out"
    assert main(command(write_space(text), data, output, "--quiet")) == 0
    results = {r["experiment_name"]: r for r in read(tmp_path / "out.json")["all_results"]}
    assert results["works"]["status"] == "completed"
    assert (results["diverges"]["status"], results["diverges"]["stop_reason"]) == ("failed", "nan")
    assert "at learning rate 1e+30" in results["diverges"]["error_message"]


@pytest.mark.slow
def test_a_trial_killed_again_and_again_continues_from_its_checkpoint_in_its_place(
    shared_address, write_space, data, tmp_path
):
    output = tmp_path / "out"
    words = ("--max-concurrent", "1", "--address", shared_address)
    process = started(command(write_space(ENDLESS + LATER, epochs=25), data, output, *words))
    for epoch in (3, 8, 13):
        wait_for_epoch(output, epoch)
        os.kill(trial_process(), signal.SIGKILL)
    printed, _ = process.communicate(timeout=180)
    assert process.returncode == 0, printed
    rows = pd.read_csv(output / "epochs.csv").groupby("experiment_name")["epoch"]
    assert {n: list(e) for n, e in rows} == {"first": list(range(1, 26)), "later": [1]}
    log = (output / "first" / "logs" / "training.log").read_text().splitlines()
    assert len(log) <= 31  # each time at most one epoch was done again, and one was under way
    found = re.findall(r"^(first|later) +epoch [1-9]", printed, re.M)
    assert found == sorted(found)  # so that a rung sees trials in the order that it would have seen


def trial_process():
    """The pid of the worker that trains, among the descendants of this process: Ray's are."""
    for process in psutil.Process().children(recursive=True):
        if "ImplicitFunc" in words_of(process):
            return process.pid
    raise AssertionError("no trial process")


class Stranger:
    """Makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "own_ray"),
    [(signal.SIGINT, 130, False), (signal.SIGTERM, 143, True), (signal.SIGKILL, -9, False)],
)
def test_a_run_that_was_ended_resumes_and_ends_as_one_that_was_not(
    shared_address, write_space, data, tmp_path, number, status, own_ray
):
    output = tmp_path / "out"
    arguments = command(write_space(ENDLESS, epochs=20), data, output)
    process = started(arguments if own_ray else [*arguments, "--address", shared_address])
    wait_for_epoch(output, 3)
    process.send_signal(number)
    begun = time.monotonic()
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == status, printed
    if number != signal.SIGKILL:
        assert time.monotonic() - begun < allowed(10)
        assert "--resume" in printed
        assert read(tmp_path / "out.json")["best_result"] is None

    for name in ("tuner.pkl", "first/params.pkl"):  # what Ray itself would resume from
        (output / name).write_bytes(pickle.dumps(Stranger(tmp_path / "unpickled")))
    assert main([*arguments, "--resume", "--quiet"]) == 0
    assert not (tmp_path / "unpickled").exists()
    result = read(tmp_path / "out.json")["best_result"]
    assert (result["total_epochs"], result["stop_reason"]) == (20, "max_epochs")
    rows = pd.read_csv(output / "epochs.csv")
    assert list(rows["epoch"]) == list(range(1, 21))
    before = (output / "first" / "logs" / "training.log").read_text()
    assert main([*arguments, "--resume", "--quiet"]) == 0
    assert (output / "first" / "logs" / "training.log").read_text() == before


def test_a_resume_where_there_is_no_run_is_refused(write_space, data, tmp_path, capsys):
    arguments = command(write_space(), data, tmp_path / "out", "--resume")
    assert main(arguments) == 2
    assert "contains no run" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_is_refused(write_space, data, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(command(write_space(), data, tmp_path / "file" / "out")) == 2
    assert "--output-dir: must be a writable folder" in capsys.readouterr().err


def test_a_resume_with_another_config_is_refused(write_space, data, tmp_path):
    tuner = HyperparameterTuner(str(write_space()), output_dir=tmp_path / "out")
    tuner.output_dir.mkdir()
    Journal(tuner.output_dir).rewrite(
        {name: TrialRecord(config) for name, config in tuner.space().configs.items()},
        {"timestamp": tuner.run.timestamp, "results_file": str(tuner.results_file)},
    )
    other = HyperparameterTuner(
        str(write_space()), output_dir=tmp_path / "out", overrides={"batch_size": 99}, resume=True
    )
    with pytest.raises(ConfigurationError, match="another config"):
        other.run_experiments()


@pytest.mark.slow
def test_more_gpus_than_there_are_is_said_at_once(shared_ray, write_space, data, tmp_path, capsys):
    arguments = command(write_space(), data, tmp_path / "out", "--gpus-per-trial", "64")
    assert main(arguments) == 2
    assert "--gpus-per-trial: must be at most" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()  # nor Ray's own log of a run that never began


def test_a_run_under_way_is_not_touched_by_who_looks_at_it_or_comes_second(
    write_space, data, tmp_path, capsys
):
    """What the storage has is older than what the run is writing."""
    output, storage = tmp_path / "out", tmp_path / "storage"
    base = command(write_space(), data, output, "--storage", str(storage))
    tuner = HyperparameterTuner(str(write_space()), output_dir=output, storage=storage)
    records = {name: TrialRecord(config) for name, config in tuner.space().configs.items()}
    about = {"timestamp": tuner.run.timestamp, "results_file": str(tuner.results_file)}
    with RunLock(output):
        journal = Journal(output)
        journal.rewrite(records, about | {"grace_period": 2})
        tuner.run.copy.push(now=True)
        records["first"].status = "failed"
        journal.append(records["first"])
        before = {path: path.read_bytes() for path in output.iterdir()}
        assert main([*base, "--list", "--resume"]) == 0
        assert main([*base, "--dry-run", "--resume"]) == 0
        assert "rungs: [2]\n" in capsys.readouterr().out  # as the storage says
        for more in ("--resume", "--resume-if-any"):
            assert main([*base, more]) == 2
            assert "in use by process" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in output.iterdir()} == before
        records["second"].status = "failed"
        journal.append(records["second"])  # its file is still the one in the folder
        assert {t.status for t in Journal(output).read().trials.values()} == {"failed"}


@pytest.mark.slow
def test_the_documented_integration_example_runs(shared_ray, data, tmp_path, monkeypatch):
    import yaml

    monkeypatch.chdir(tmp_path)
    experiment = {
        "experiment_name": "my_experiment",
        "model": {"name": "medium"},
        "data": {"metadata_path": str(data / "metadata.yaml")},
        "training": {"batch_size": 48, "learning_rate": 0.0015, "num_epochs": 2},
        "optimizer": {"type": "adamw"},
        "scheduler": {"type": "cosine", "warmup_epochs": 2},
    }
    targets = {"character_accuracy": 0.85, "sequence_accuracy": 0.70}
    content = {"experiments": {"my_experiment": experiment}, "targets": targets}
    Path("custom_config.yaml").write_text(yaml.dump(content))
    tuner = HyperparameterTuner("custom_config.yaml")
    results = tuner.run_experiments(["my_experiment"])
    assert 0 <= results["best_result"]["best_val_char_accuracy"] <= 1

    def load_latest_results():
        results_dir = Path()
        result_files = list(results_dir.glob("hyperparameter_tuning_results_*.json"))

        if not result_files:
            return None

        latest_file = max(result_files, key=lambda f: f.stat().st_mtime)

        with open(latest_file) as f:  # noqa: PTH123
            return json.load(f)

    def get_best_hyperparameters():
        """Get hyperparameters from the best performing experiment."""
        results = load_latest_results()
        if results and results["best_result"]:
            return results["best_result"]["hyperparameters"]
        return None

    assert get_best_hyperparameters() == {
        "model_name": "medium",
        "batch_size": 48,
        "learning_rate": 0.0015,
        "weight_decay": 1e-4,
        "loss_type": "crossentropy",
        "scheduler_type": "cosine",
        "optimizer_type": "adamw",
    }
    assert (tmp_path / "training_output" / "my_experiment" / "tensorboard").is_dir()


@pytest.mark.slow
def test_a_users_own_folder_of_images_is_tuned_on(
    shared_ray, write_space, labelled_folder, tmp_path
):
    output = tmp_path / "out"
    arguments = command(write_space(epochs=1), labelled_folder, output, "--experiments", "first")
    assert main([*arguments, "--quiet"]) == 0
    best = read(tmp_path / "out.json")["best_result"]
    assert best["experiment_name"] == "first"
    # A wrong command line afterwards costs nothing of what was found.
    assert main([*arguments, "--data", "absent"]) == 2
    assert main([*arguments, "--cpus-per-trial", "9999"]) == 2
    assert main([*arguments, "--results-file", str(tmp_path)]) == 2
    assert Path(best["checkpoint"]).is_file()


@pytest.mark.slow
def test_the_same_submission_starts_a_run_and_then_continues_with_it(
    shared_ray, write_space, data, tmp_path
):
    output = tmp_path / "out"
    more = ("--experiments", "first", "--quiet", "--resume-if-any")
    arguments = command(write_space(epochs=1), data, output, *more)
    assert main(arguments) == 0
    before = pd.read_csv(output / "epochs.csv")
    assert main(arguments) == 0
    pd.testing.assert_frame_equal(pd.read_csv(output / "epochs.csv"), before)
