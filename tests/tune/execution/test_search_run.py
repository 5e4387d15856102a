"""Searches and budgets on a real local Ray."""

import json

import pandas as pd
import pytest

from raytune_ocr.results.importance import importance, varied
from raytune_ocr.tune.__main__ import main
from tests.fixtures.materials import allowed

SEARCHED = """
tuning: {{search: {search}, scheduler: none, num_samples: 6, max_concurrent: 2}}
experiments:
  found:
    resources: {{cpus: 0.5, memory: 50MB}}
    model: {{name: {{choice: [small, ctc_small]}}}}
    training:
      num_epochs: 1
      use_tensorboard: false
      learning_rate: {{loguniform: [1e-4, 1e-2]}}
      label_smoothing: {{uniform: [0, 0.1], when: {{model.name: small}}}}
    scheduler: {{type: none}}
"""
LONG = """
experiments:
  long:
    model: {{name: ctc_small}}
    training: {{num_epochs: 500, batch_size: 16, use_tensorboard: false}}
    scheduler: {{type: none}}
    early_stopping: {{patience: 0}}
"""


def command(space, data, output, *more):
    return [
        *("--config", str(space), "--data", str(data), "--output-dir", str(output)),
        *("--results-file", str(output) + ".json", "--quiet", *more),
    ]


def read(path):
    return json.loads(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("search", ["random", "optuna"])
def test_a_search_continues_with_more_trials(
    shared_ray, write_space, data, tmp_path, search, capsys
):
    output = tmp_path / "out"
    arguments = command(write_space(SEARCHED, search=search), data, output)
    assert main([*arguments, "--max-trials", "3"]) == 0
    assert "--max-trials: 3 of 6 trials" in capsys.readouterr().err
    first = read(tmp_path / "out.json")["all_results"]
    assert main([*arguments, "--max-trials", "5", "--resume"]) == 0
    results = read(tmp_path / "out.json")["all_results"]
    assert {r["experiment_name"] for r in results} == {f"found_{n:04d}" for n in range(1, 6)}
    assert [r for r in results if r["experiment_name"] in {f["experiment_name"] for f in first}]
    for result in results:
        assert result["search"] == "found"
        assert result["sampled"].items() <= result["hyperparameters"].items()
        assert result["config"]["learning_rate"] == result["sampled"]["learning_rate"]
    kept = {r["experiment_name"]: {**r, "rank": None} for r in results}  # among more trials now
    assert all(kept[f["experiment_name"]] == {**f, "rank": None} for f in first)
    assert {"model_name", "learning_rate"} <= set(varied(output))
    assert set(importance(output)["setting"]) >= {"learning_rate"}


@pytest.mark.slow
def test_a_run_that_a_budget_ended_continues_until_its_target(
    shared_ray, write_space, data, tmp_path, capsys
):
    output = tmp_path / "out"
    arguments = command(write_space(LONG), data, output)
    budget = round(allowed(12))  # seconds: time for an epoch, and not for all of them
    assert main([*arguments, "--time-budget", f"{budget}s"]) == 0
    assert f"the time budget of {budget} s is spent" in capsys.readouterr().err
    (cut,) = read(tmp_path / "out.json")["all_results"]
    assert (cut["status"], cut["stop_reason"]) == ("completed", "time_budget")
    assert main([*arguments, "--resume", "--target", "val_loss=100"]) == 0
    (done,) = read(tmp_path / "out.json")["all_results"]
    assert done["stop_reason"] == "target"
    assert done["total_epochs"] >= cut["total_epochs"]
    rows = pd.read_csv(output / "epochs.csv")
    assert list(rows["epoch"]) == list(range(1, done["total_epochs"] + 1))
