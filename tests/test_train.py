"""The command line that trains one model in an experiment folder."""

import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import yaml
from PIL import Image

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.export import main as export
from raytune_ocr.predict import main as predict
from raytune_ocr.train import main
from raytune_ocr.training.callbacks.epoch_log import read_epoch_log
from raytune_ocr.training.checkpoints.state_files import read_state, write_state
from raytune_ocr.training.experiments.resume import create_config, resumed_settings


@pytest.fixture
def photos(tmp_path):
    for number in range(40):
        bright = number % 2
        file = tmp_path / "photos" / ("dark", "light")[bright] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.new("L", (24, 24), 128)
        picture.paste(255 * bright, (4, 4 + number % 7, 14, 16))
        picture.save(file)
    return tmp_path / "photos"


@pytest.fixture
def command(photos, tmp_path):
    def arguments(*more):
        return [
            *("--model", "image_classifier", "--dataset", "image_folder", "--data", str(photos)),
            *("--base-dir", str(tmp_path / "runs"), *more),
        ]

    return arguments


@contextmanager
def stopping_of(experiment):
    """What early stopping has in the latest checkpoint, to be changed."""
    latest = next((experiment / "checkpoints").glob("*latest*.pt"))
    state = read_state(latest)
    (kept,) = (callback for callback in state["callbacks"].values() if "waited" in callback)
    yield kept
    write_state(latest, state)


def test_a_classifier_is_trained_resumed_and_forked(command, tmp_path, capsys):
    assert main(command("--epochs", "3", "--set", "learning_rate=0.01")) == 0
    output = capsys.readouterr()
    assert "exp1: image_classifier on image_folder, 3 epochs" in output.out
    assert "epoch 3/3" in output.err and "it/s" in output.err
    runs = tmp_path / "runs"
    assert main(["--resume", "exp1", "--epochs", "5", "--base-dir", str(runs)]) == 0
    assert len(read_epoch_log(runs / "exp1" / "training.log")["val_accuracy"]) == 5
    assert (runs / "exp1" / "training_curves.png").is_file()
    forking = ["--fork", "exp1", "--epochs", "2", "--base-dir", str(runs), "--set", "batch_size=8"]
    assert main([*forking, "--reapply-transforms", "--set", "augmentation=true"]) == 0
    config = yaml.safe_load((runs / "exp2" / "config.yaml").read_text())
    assert (config["parent"], config["batch_size"], config["learning_rate"]) == ("exp1", 8, 0.01)


def test_settings_change_in_mid_training_and_do_so_again_after_a_resume(command, tmp_path):
    changes = (
        "changes=[{after_epoch: 1, learning_rate: 1e-4}, {after_epoch: 3, learning_rate: 1e-5}]"
    )
    settings = ["--set", "learning_rate=0.01", "--set", "scheduler_type=none", "--set", changes]
    runs, rates = tmp_path / "runs", [0.01, 1e-4, 1e-4, 1e-5]
    assert main(command("--epochs", "4", *settings, "--set", "min_lr=0")) == 0
    assert main(command("--epochs", "2", *settings, "--set", "min_lr=0")) == 0
    assert main(["--resume", "exp2", "--epochs", "4", "--base-dir", str(runs)]) == 0
    whole, resumed = (read_epoch_log(runs / name / "training.log") for name in ("exp1", "exp2"))
    assert whole["learning_rate"] == resumed["learning_rate"] == rates
    assert whole["val_loss"] == resumed["val_loss"]


def test_a_setting_that_is_given_at_a_resume_holds_from_there_on(command, tmp_path, capsys):
    runs = tmp_path / "runs"
    plain = ["--set", "learning_rate=0.01", "--set", "scheduler_type=none"]
    assert main(command("--epochs", "2", *plain)) == 0
    go_on = ["--resume", "exp1", "--base-dir", str(runs)]
    assert main([*go_on, "--epochs", "3", "--set", "learning_rate=1e-4"]) == 0
    assert main([*go_on, "--epochs", "4"]) == 0
    rates = read_epoch_log(runs / "exp1" / "training.log")["learning_rate"]
    assert rates == [0.01, 0.01, 1e-4, 1e-4]
    capsys.readouterr()
    assert main([*go_on, "--epochs", "5", "--set", "optimizer_type=sgd"]) == 2
    assert "optimizer_type: must stay 'adam'" in capsys.readouterr().err


def test_a_rate_from_the_environment_holds_from_a_resume_on_as_a_given_one_does(
    command, tmp_path, monkeypatch
):
    runs = tmp_path / "runs"
    plain = ["--set", "learning_rate=0.01", "--set", "scheduler_type=none"]
    assert main(command("--epochs", "1", *plain)) == 0
    monkeypatch.setenv("RAYTUNE_OCR_LEARNING_RATE", "1e-4")
    go_on = ["--resume", "exp1", "--base-dir", str(runs)]
    assert main([*go_on, "--epochs", "2"]) == 0
    assert main([*go_on, "--epochs", "3"]) == 0
    assert read_epoch_log(runs / "exp1" / "training.log")["learning_rate"] == [0.01, 1e-4, 1e-4]
    config = yaml.safe_load((runs / "exp1" / "config.yaml").read_text())
    assert config["learning_rate"] == 0.01
    assert config["changes"] == [{"after_epoch": 1, "learning_rate": 1e-4}]


def test_a_longer_schedule_holds_from_the_first_epoch_that_is_resumed(command, tmp_path):
    runs = tmp_path / "runs"
    cosine = ["--set", "learning_rate=0.01", "--set", "scheduler_type=cosine"]
    assert main(command("--epochs", "4", *cosine)) == 0
    assert main(command("--epochs", "2", *cosine)) == 0
    assert main(["--resume", "exp2", "--epochs", "4", "--base-dir", str(runs)]) == 0
    whole, longer = (read_epoch_log(runs / name / "training.log") for name in ("exp1", "exp2"))
    assert longer["learning_rate"][2:] == whole["learning_rate"][2:]


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model", "medium"], "model_name: must stay 'image_classifier'"),
        (["--set", "model_options={widths: [8, 8]}"], "model_options: must stay {}"),
        (["--dataset", "mnist"], "dataset_name: must stay 'image_folder'"),
        (["--set", "early_stopping_monitor=val_loss"], "early_stopping_monitor: must stay"),
        (["--set", "dataset_options={channels: 3}"], "belongs to another model"),
    ],
)
def test_a_resume_with_another_model_or_data_is_refused_and_changes_no_file(
    command, tmp_path, capsys, more, message
):
    runs = tmp_path / "runs"
    assert main(command("--epochs", "1")) == 0
    before = files_of(runs)
    go_on = ["--resume", "exp1", "--base-dir", str(runs)]
    assert main([*go_on, "--epochs", "2", *more]) == 2
    assert message in capsys.readouterr().err
    assert files_of(runs) == before
    assert main([*go_on, "--epochs", "2"]) == 0


def test_a_fork_begins_with_the_settings_that_held_at_the_end(command, tmp_path):
    runs = tmp_path / "runs"
    settings = ["--set", "scheduler_type=none", "--set", "learning_rate=0.01"]
    changes = "changes=[{after_epoch: 1, learning_rate: 5e-3}, {after_epoch: 3, weight_decay: 0.1}]"
    assert main(command("--epochs", "2", *settings, "--set", changes)) == 0
    fork = ["--fork", "exp1", "--epochs", "2", "--base-dir", str(runs)]
    assert main(fork) == 0
    assert main([*fork, "--set", "learning_rate=1e-4"]) == 0
    assert main([*fork, "--set", "changes=[{after_epoch: 1, learning_rate: 2e-3}]"]) == 0
    rates = [
        read_epoch_log(runs / name / "training.log")["learning_rate"]
        for name in ("exp2", "exp3", "exp4")
    ]
    assert rates == [[5e-3, 5e-3], [1e-4, 1e-4], [5e-3, 2e-3]]
    config = yaml.safe_load((runs / "exp3" / "config.yaml").read_text())
    assert (config["changes"], config["weight_decay"]) == ([], 1e-4)


def test_transforms_that_are_drawn_anew_are_so_after_a_resume(command, tmp_path):
    runs = tmp_path / "runs"
    anew = ["--reapply-transforms", "--set", "augmentation=true"]
    assert main(command("--epochs", "3", *anew)) == 0
    assert main(command("--epochs", "1", *anew)) == 0
    assert main(["--resume", "exp2", "--epochs", "2", "--base-dir", str(runs)]) == 0
    assert main(["--resume", "exp2", "--epochs", "3", "--base-dir", str(runs)]) == 0
    assert main(command("--epochs", "3", "--set", "augmentation=true")) == 0
    whole, resumed, once = (
        read_epoch_log(runs / name / "training.log")["train_loss"]
        for name in ("exp1", "exp2", "exp3")
    )
    assert resumed == whole and once[0] == whole[0] and once[1:] != whole[1:]


def test_a_resumed_fork_remembers_its_parent(command, tmp_path):
    runs = ["--base-dir", str(tmp_path / "runs")]
    assert main(command("--epochs", "1")) == 0
    assert main(["--fork", "exp1", *runs]) == 0
    assert main(["--resume", "exp2", "--epochs", "2", *runs]) == 0
    assert yaml.safe_load((tmp_path / "runs/exp2/config.yaml").read_text())["parent"] == "exp1"


def test_early_stopping_follows_the_figure_that_is_set(command, tmp_path, capsys):
    follow = ["--patience", "2", "--set", "early_stopping_monitor=val_loss"]
    # No loss gets better by a hundred, whatever the accuracy does.
    assert main(command("--epochs", "9", *follow, "--set", "early_stopping_min_delta=100")) == 0
    output = capsys.readouterr().out
    log = read_epoch_log(tmp_path / "runs" / "exp1" / "training.log")
    assert len(log["val_loss"]) == 3
    best = max(log["val_accuracy"])
    epoch = log["val_accuracy"].index(best) + 1
    assert f"best accuracy {best:.2f} % in epoch {epoch}" in output
    config = yaml.safe_load((tmp_path / "runs" / "exp1" / "config.yaml").read_text())
    assert config["early_stopping_mode"] == "min"


def test_a_fork_that_follows_another_figure_follows_it_in_its_direction(command, tmp_path):
    runs = tmp_path / "runs"
    assert main(command("--epochs", "1")) == 0
    other = ["--fork", "exp1", "--set", "early_stopping_monitor=val_loss"]
    assert main([*other, "--epochs", "1", "--base-dir", str(runs)]) == 0
    config = yaml.safe_load((runs / "exp2" / "config.yaml").read_text())
    assert config["early_stopping_mode"] == "min"


def test_a_fork_onto_other_data_follows_a_figure_that_is_reported_there(photos, tmp_path):
    from raytune_ocr.data import generate_dataset

    generate_dataset(tmp_path / "digits", sizes={"train": 32, "val": 16, "test": 1}, seed=1)
    runs = ["--base-dir", str(tmp_path / "runs"), "--epochs", "1"]
    assert main(["--model", "ctc_small", "--data", str(tmp_path / "digits"), *runs]) == 0
    photos_now = ["--model", "image_classifier", "--dataset", "image_folder", "--data", str(photos)]
    assert main(["--fork", "exp1", *photos_now, *runs]) == 0
    config = yaml.safe_load((tmp_path / "runs" / "exp2" / "config.yaml").read_text())
    assert config["early_stopping_monitor"] == "val_accuracy"


def test_a_figure_that_nobody_reports_is_refused_before_anything_is_made(command, tmp_path, capsys):
    assert main(command("--set", "early_stopping_monitor=val_acuracy")) == 2
    assert "unknown metric 'val_acuracy'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_early_stopping_of_another_figure_begins_from_the_history(command, tmp_path, capsys):
    follow = ["--patience", "2", "--set", "early_stopping_monitor=val_loss"]
    settings = ["--set", "learning_rate=1e-4", "--set", "scheduler_type=none"]
    assert main(command("--epochs", "3", *follow, *settings)) == 0
    with stopping_of(tmp_path / "runs" / "exp1") as kept:
        kept.update(best_score=80.0, best_epoch=0, waited=2)  # an accuracy's, as it once was kept
        kept.pop("monitor")
    resume = ["--resume", "exp1", "--epochs", "8", "--base-dir", str(tmp_path / "runs")]
    assert main(resume) == 0
    losses = read_epoch_log(tmp_path / "runs" / "exp1" / "training.log")["val_loss"]
    assert losses == sorted(losses, reverse=True) and len(losses) == 8


def test_every_figure_that_is_reported_can_be_followed():
    for name in ("val_accuracy", "train_cer", "val_edit_distance"):
        assert create_config({"early_stopping_monitor": name}, {}).early_stopping_monitor == name
    before = {"early_stopping_monitor": "train_cer", "early_stopping_mode": "min"}
    config = create_config({"num_epochs": 9}, before)
    assert (config.early_stopping_monitor, config.early_stopping_mode) == ("train_cer", "min")


def test_a_plateau_schedule_keeps_its_direction():
    before = create_config({"scheduler_type": "plateau"}, {})
    with pytest.raises(ConfigurationError, match="early_stopping_mode: must stay 'max'"):
        resumed_settings({"early_stopping_mode": "min"}, before, 3)


@pytest.mark.parametrize("knows_its_figure", [True, False])
def test_more_patience_continues_with_what_was_stopped_early(command, tmp_path, knows_its_figure):
    runs = tmp_path / "runs"
    stuck = ["--set", "learning_rate=1e-9", "--set", "min_lr=0", "--patience", "1"]
    assert main(command("--epochs", "9", *stuck)) == 0
    log = runs / "exp1" / "training.log"
    stopped = len(read_epoch_log(log)["val_loss"])
    assert stopped < 5
    if not knows_its_figure:  # as states were once kept
        with stopping_of(runs / "exp1") as kept:
            kept.pop("monitor")
    go_on = ["--resume", "exp1", "--base-dir", str(runs), "--patience", "0"]
    assert main([*go_on, "--epochs", "6"]) == 0
    assert len(read_epoch_log(log)["val_loss"]) == 6


def test_a_reader_of_digits_is_trained_read_with_and_exported(tmp_path, capsys):
    from raytune_ocr.data import generate_dataset

    generate_dataset(tmp_path / "digits", sizes={"train": 64, "val": 32, "test": 1}, seed=1)
    architecture = tmp_path / "architecture.yaml"
    architecture.write_text("dilations: [1, 2]")
    words = ["--model", "ctc_small", "--data", str(tmp_path / "digits"), "--epochs", "2"]
    words += ["--set", f"model_config_path={architecture}"]
    assert main([*words, "--base-dir", str(tmp_path / "runs")]) == 0
    architecture.unlink()  # what reads needs it no longer
    log = read_epoch_log(tmp_path / "runs" / "exp1" / "training.log")
    assert all(0 <= value <= 100 for value in log["val_accuracy"])
    assert log["val_accuracy"] == log["val_char_accuracy"]
    experiment = str(tmp_path / "runs" / "exp1")
    capsys.readouterr()
    assert predict([experiment, str(tmp_path / "digits" / "val")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 32
    assert export([experiment, "--output", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "model.onnx").is_file()


def test_patience_ends_a_training_that_does_not_improve(command, tmp_path):
    still = command("--epochs", "50", "--patience", "2", "--set", "learning_rate=1e-30")
    assert main([*still, "--set", "min_lr=0"]) == 0
    assert len(read_epoch_log(tmp_path / "runs" / "exp1" / "training.log")["val_loss"]) < 20


def test_ctrl_c_tells_how_to_continue(command, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "raytune_ocr.train", *command("--epochs", "100000")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "runs" / "exp1" / "training.log"
    until = time.monotonic() + 60
    while time.monotonic() < until and not (log.exists() and "epoch 2/" in log.read_text()):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, output = process.communicate(timeout=30)
    assert process.returncode == 130, output
    runs = tmp_path / "runs"
    assert f"-m raytune_ocr.train --resume exp1 --base-dir {runs}" in output
    done = len(read_epoch_log(log)["val_loss"])
    resume = ["--resume", "exp1", "--base-dir", str(runs), "--epochs", str(done + 1)]
    assert main(resume) == 0


def test_a_module_that_an_experiment_names_is_imported_only_if_the_command_names_it_too(
    command, tmp_path, capsys, monkeypatch
):
    (tmp_path / "module_of_an_experiment.py").write_text("print('imported')")
    monkeypatch.chdir(tmp_path)
    name, runs = "module_of_an_experiment", ["--base-dir", str(tmp_path / "runs")]
    assert main(command("--epochs", "1", "--import", name)) == 0
    sys.modules.pop(name)
    capsys.readouterr()
    for kind in ("--resume", "--fork"):
        assert main([kind, "exp1", "--epochs", "2", *runs]) == 2
        output = capsys.readouterr()
        assert "exp1/config.yaml: needs the modules" in output.err
        assert f"--import {name}" in output.err and "imported" not in output.out
    assert main(["--resume", "exp1", "--epochs", "2", "--import", name, *runs]) == 0
    sys.modules.pop(name)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--resume", "exp4"], "unknown experiment 'exp4'"),
        (["--model", "image_clasifier"], "did you mean 'image_classifier'"),
        (["--dataset", "image_foldr"], "did you mean 'image_folder'"),
        (["--epochs", "none"], "--epochs: must be an integer >= 1"),
        (["--set", "learning_rat=1"], "did you mean 'learning_rate'"),
        (["--set", "batch_size"], "--set: must be KEY=VALUE"),
        (["--data", "/nowhere"], "/nowhere: no such folder of images"),
        (["--dataset", "mnist"], "train-images-idx3-ubyte"),
        (["--import", "no_such_module_here"], "no_such_module_here"),
    ],
)
def test_what_is_wrong_is_reported_and_uses_up_no_number(command, tmp_path, capsys, more, message):
    assert main(command(*more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_a_function_of_ones_own_is_trained_and_resumed(tmp_path, capsys):
    own = ["--trainable", "tests.fixtures.own_training:finetune", "--base-dir", str(tmp_path)]
    chosen = ["--set", "parameters={lr: 0.05}", "--set", "metric.name=val_mae"]
    assert main([*own, *chosen, "--epochs", "2"]) == 0
    said = capsys.readouterr().out
    assert "exp1: tests.fixtures.own_training:finetune, 2 epochs" in said
    assert "epoch 2/2  val_mae" in said and "best val_mae" in said
    assert main([*own, "--resume", "exp1", "--epochs", "3"]) == 0
    assert "1 epochs in" in capsys.readouterr().out
    assert main([*own, "--fork", "exp1"]) == 2


def test_a_function_is_not_imported_because_a_folder_names_it(tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "their_training.py").write_text("raise SystemExit('imported')\n")
    folder = tmp_path / "runs" / "exp1"
    folder.mkdir(parents=True)
    config = "trainable: their_training:f\nimports: [their_training]\n"
    (folder / "config.yaml").write_text(config)
    assert main(["--base-dir", str(tmp_path / "runs"), "--resume", "exp1"]) == 2
    assert "--import their_training" in capsys.readouterr().err
