"""What TensorBoard and trackers hear of a run."""

import json
import struct
import subprocess
import sys

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune import load_results
from raytune_ocr.tune.__main__ import main
from raytune_ocr.tune.tracking import registry as tracking


def events(folder):
    read = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    read.Reload()
    return read


@pytest.mark.slow
def test_every_trial_shows_scalars_all_settings_and_what_it_reads(confirmed_run):
    stops = load_results(confirmed_run).set_index("experiment_name")["stop_reason"]
    assert "scheduler" in set(stops)  # one that was stopped is no exception
    confirming = [path.name for path in confirmed_run.glob("*-seed10?")]
    assert len(confirming) == 4
    for name in [*stops.index, *confirming]:
        seen = events(confirmed_run / name)
        assert {"train_loss", "val_char_accuracy", "learning_rate"} <= set(seen.Tags()["scalars"])
        told = seen.PluginTagToContent("hparams")["_hparams_/session_start_info"]
        settings = HParamsPluginData.FromString(told).session_start_info.hparams
        assert settings["batch_size"].number_value in (16, 96)
        assert settings["optimizer_type"].string_value == "adam"  # a constant, nowhere set
        picture = seen.Images("predictions")[-1]
        assert picture.width > 400 and picture.height > 400


@pytest.mark.slow
def test_mlflow_has_a_run_for_each_trial_with_all_settings_and_every_epoch(finished_run):
    output, _ = finished_run
    store = MlflowClient(f"sqlite:///{output}/mlflow.db")
    experiment = store.get_experiment_by_name("out")
    runs = {run.info.run_name: run for run in store.search_runs([experiment.experiment_id])}
    assert set(runs) == {"first", "second"}
    trials = load_results(output).set_index("experiment_name")
    for name, run in runs.items():
        assert run.info.status == "FINISHED"
        assert run.data.params["optimizer_type"] == "adam"  # a constant, nowhere set
        assert run.data.params["batch_size"] == "16"
        told = store.get_metric_history(run.info.run_id, "val_char_accuracy")
        assert sorted({point.step for point in told}) == [1, 2, 3]
        best = max(point.value for point in told)
        assert best == pytest.approx(trials.loc[name, "best_val_char_accuracy"])


def test_runs_of_trials_go_on_and_those_of_a_new_run_do_not(tmp_path, monkeypatch):
    from raytune_ocr.tune.tracking.mlflow import MLflow
    from raytune_ocr.tune.tracking.wandb import WeightsAndBiases

    monkeypatch.setenv("WANDB_MODE", "offline")

    class Unsent(WeightsAndBiases):
        def _start_logging_actor(self, trial, excluded, **settings):
            seen.append((settings["id"], settings["resume"], settings["name"]))

    seen, uri = [], f"sqlite:///{tmp_path}/mlflow.db"
    for run, settings in (("one", {"seed": 1}), ("one", {"num_workers": 3}), ("two", {"seed": 2})):
        for tracker in (
            MLflow(uri, experiment_name="e", run=run),
            Unsent("e", run=run, mode="offline"),
        ):
            tracker.setup()
            tracker.log_trial_start(Started("first", settings))
    ids = [mine for mine, *_ in seen]
    assert ids[0] == ids[1] != ids[2] and {how for _, how, _ in seen} == {"allow"}
    store = MlflowClient(uri)
    runs = store.search_runs([store.get_experiment_by_name("e").experiment_id])
    assert sorted(run.data.params.get("seed") for run in runs) == ["1", "2"]


class Started:
    """What a tracker looks at of a trial of Ray's."""

    trial_id, experiment_dir_name, local_path = "1", "out", "."

    def __init__(self, name, settings):
        self.name = name
        self.config = {"experiment_name": name, "config": {"experiment_name": name, **settings}}

    def __str__(self):
        return self.name


BLOCK, HEADER = 32768, 7  # bytes, of the log that Weights & Biases writes offline


def offline_records(path):
    """What would have been sent: parts that begin with checksum, length and place in the whole."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, whole = path.read_bytes(), HEADER, b""
    while at + HEADER <= len(content):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, size, place = struct.unpack("<IHB", content[at : at + HEADER])
        whole += content[at + HEADER : at + HEADER + size]
        at += HEADER + size
        if place in (1, 4):  # all of it, or its last part
            yield Record.FromString(whole)
            whole = b""


def offline_run(path):
    """Its name, settings, accuracies by step, and whether it was ended."""
    name, settings, told, ended = "", {}, {}, False
    for record in offline_records(path):
        if record.HasField("run"):
            name = record.run.display_name
            settings = {item.key: json.loads(item.value_json) for item in record.run.config.update}
        if record.HasField("history"):
            items = {item.key or item.nested_key[0]: item for item in record.history.item}
            step = record.history.step.num
            told[step] = json.loads(items["val_char_accuracy"].value_json)
        ended |= record.HasField("exit")
    return name, settings, told, ended


@pytest.mark.slow
def test_wandb_has_a_run_for_each_trial_also_of_a_population(stored_population):
    output = stored_population
    runs = [offline_run(path) for path in output.glob("wandb/offline-run-*/run-*.wandb")]
    trials = load_results(output).set_index("experiment_name")
    epochs = pd.read_csv(output / "epochs.csv")
    assert len(trials) == 5 and sorted(name for name, *_ in runs) == sorted(trials.index)
    for name, settings, told, ended in runs:
        assert ended
        assert (settings["optimizer_type"], settings["batch_size"]) == ("adam", 16)
        mine = epochs[epochs["experiment_name"] == name].set_index("epoch")["val_char_accuracy"]
        first = 2 if trials.loc[name, "parent_epoch"] == 2 else 1
        assert told == pytest.approx(mine.loc[first:].to_dict())


def test_a_tracker_that_cannot_be_told_is_an_error_of_the_command_line(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(ConfigurationError, match=r"--track wandb: .* No WandB API key found"):
        tracking.reach_trackers(["wandb"], tmp_path, "one")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match=r"--track mlflow: .*nothing answers there"):
        tracking.reach_trackers(["mlflow"], tmp_path, "one")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://host")
    with pytest.raises(ConfigurationError, match=r"--track mlflow: .*nonsense"):
        tracking.reach_trackers(["mlflow"], tmp_path, "one")


@pytest.mark.slow
def test_a_run_that_tells_no_tracker_does_not_import_them(write_space, data, tmp_path):
    asks = (
        "import sys; from raytune_ocr.tune.__main__ import main; code = main(sys.argv[1:]); "
        "assert not {'mlflow', 'wandb'} & set(sys.modules); sys.exit(code)"
    )
    words = ["--config", write_space(epochs=1), "--data", data, "--output-dir", tmp_path / "out"]
    words += ["--results-file", tmp_path / "out.json", "--quiet"]
    done = subprocess.run([sys.executable, "-c", asks, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_tracker_and_one_that_is_not_installed_are_told(
    write_space, tmp_path, monkeypatch, capsys
):
    words = ["--config", str(write_space()), "--output-dir", str(tmp_path / "out")]
    assert main([*words, "--track", "mlfow"]) == 2
    assert "did you mean 'mlflow'" in capsys.readouterr().err
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    assert main([*words, "--track", "wandb"]) == 2
    assert "pip install 'raytune-ocr[track]'" in capsys.readouterr().err
