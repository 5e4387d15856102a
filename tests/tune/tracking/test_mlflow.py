import pytest
from mlflow.tracking import MlflowClient

from raytune_ocr.tune import load_results


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
        printed = store.get_metric_history(run.info.run_id, "val_char_accuracy")
        assert sorted({point.step for point in printed}) == [1, 2, 3]
        assert not [key for key in run.data.metrics if "/" in key]
        assert not {"pid", "done", "epoch", "training_iteration"} & set(run.data.metrics)
        best = max(point.value for point in printed)
        assert best == pytest.approx(trials.loc[name, "best_val_char_accuracy"])


def test_runs_of_trials_continue_and_those_of_a_new_run_do_not(tmp_path, monkeypatch):
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


@pytest.mark.slow
def test_the_winner_has_its_model_and_the_report_as_artifacts(finished_run):
    output, _ = finished_run
    store = MlflowClient(f"sqlite:///{output}/mlflow.db")
    (experiment,) = [store.get_experiment_by_name("out")]
    files = {
        run.info.run_name: [
            file.path
            for kind in ("model", "report")
            for file in store.list_artifacts(run.info.run_id, kind)
        ]
        for run in store.search_runs([experiment.experiment_id])
    }
    winner = load_results(output)["experiment_name"].iloc[0]
    assert files.pop(winner) == ["model/best_model.pt", "report/report.html"]
    assert list(files.values()) == [[]]


def test_figures_have_their_own_names_and_the_epoch_is_the_step(tmp_path):
    from raytune_ocr.tune.tracking.mlflow import MLflow

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracker = MLflow(uri, experiment_name="e", run="one", artifacts=tmp_path / "files")
    tracker.setup()
    trial = Started("first", {"learning_rate": 0.1})
    tracker.log_trial_start(trial)
    report = {"epoch": 3, "val_loss": 0.5, "pid": 7, "done": False, "training_iteration": 1}
    tracker.log_trial_result(1, trial, {**report, "config": {"config": {"learning_rate": 0.1}}})
    model = tmp_path / "best_model.pt"
    model.write_text("weights")
    tracker.log_files("first", {"model": model})
    tracker.log_files("unknown", {"model": model})
    store = MlflowClient(uri)
    (run,) = store.search_runs([store.get_experiment_by_name("e").experiment_id])
    assert (run.data.metrics, run.data.params["learning_rate"]) == ({"val_loss": 0.5}, "0.1")
    assert store.get_metric_history(run.info.run_id, "val_loss")[0].step == 3
    (kept,) = tmp_path.glob("files/**/best_model.pt")
    assert kept.read_text() == "weights"


class Started:
    """What a tracker looks at of a trial of Ray's."""

    trial_id, experiment_dir_name, local_path = "1", "out", "."

    def __init__(self, name, settings):
        self.name = name
        self.config = {"experiment_name": name, "config": {"experiment_name": name, **settings}}

    def __str__(self):
        return self.name
