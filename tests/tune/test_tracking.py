"""What TensorBoard and trackers hear of a run."""

import pytest
from mlflow.tracking import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from raytune_ocr.tune import load_results, tracking
from raytune_ocr.tune.__main__ import main


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
def test_mlflow_has_a_run_for_each_trial_with_all_settings_and_every_epoch(
    write_space, data, tmp_path, monkeypatch
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    output = tmp_path / "tracked"
    words = ["--config", str(write_space(epochs=2)), "--data", str(data), "--scheduler", "none"]
    words += ["--output-dir", str(output), "--results-file", str(tmp_path / "r.json")]
    assert main([*words, "--track", "mlflow", "--quiet"]) == 0
    store = MlflowClient(f"sqlite:///{output}/mlflow.db")
    experiment = store.get_experiment_by_name("tracked")
    runs = {run.info.run_name: run for run in store.search_runs([experiment.experiment_id])}
    assert set(runs) == {"first", "second"}
    trials = load_results(output).set_index("experiment_name")
    for name, run in runs.items():
        assert run.info.status == "FINISHED"
        assert run.data.params["optimizer_type"] == "adam"  # a constant, nowhere set
        assert run.data.params["batch_size"] == "16"
        told = store.get_metric_history(run.info.run_id, "val_char_accuracy")
        assert sorted({point.step for point in told}) == [1, 2]
        best = max(point.value for point in told)
        assert best == pytest.approx(trials.loc[name, "best_val_char_accuracy"])


def test_an_unknown_tracker_and_one_that_is_not_installed_are_told(
    write_space, tmp_path, monkeypatch, capsys
):
    words = ["--config", str(write_space()), "--output-dir", str(tmp_path / "out")]
    assert main([*words, "--track", "mlfow"]) == 2
    assert "did you mean 'mlflow'" in capsys.readouterr().err
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    assert main([*words, "--track", "wandb"]) == 2
    assert "pip install 'raytune-ocr[track]'" in capsys.readouterr().err
