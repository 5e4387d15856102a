import sys

import pytest
import torch

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError, DataLoaderError
from raytune_ocr.tasks.function import RETURNED, FunctionTask, function_named
from raytune_ocr.training.checkpoints.run_folder import STATE_NAME
from raytune_ocr.training.checkpoints.state_files import read_state

HOME = "tests.fixtures.own_training"


def config_of(folder, function="finetune", **settings):
    return TrainingConfig(
        **{
            "trainable": f"{HOME}:{function}",
            "imports": [HOME],
            "parameters": {"lr": 0.05},
            "early_stopping_monitor": "val_mae",
            "num_epochs": 4,
            "use_tensorboard": False,
            "output_dir": str(folder),
            **settings,
        }
    )


def trained(config, keep=None, **keywords):
    """The reports of a training; `keep`: a folder for the state of each epoch."""
    task, rows = FunctionTask(), []

    def report(row, folder):
        rows.append(row)
        if folder and keep is not None:
            state = read_state(f"{folder}/{STATE_NAME}")
            torch.save(state, keep / f"{state['epoch']}.pt")

    task.check(config)
    task.train(config, task.prepare(config, None), report, **keywords)
    return rows


def figures(rows):
    return {row["epoch"]: (row["val_mae"], row["val_loss"]) for row in rows if "epoch" in row}


def test_a_function_is_trained_with_a_report_after_each_epoch(tmp_path):
    torch.manual_seed(0)
    rows = trained(config_of(tmp_path))
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["reported"] == ["val_mae", "val_loss"]
    assert rows[-1]["stop_reason"] == "max_epochs" and rows[0]["stop_reason"] == ""
    best = read_state(tmp_path / "hyperparameter_experiment" / "checkpoints" / "best_model.pt")
    assert best["metrics"]["val_mae"] == min(row["val_mae"] for row in rows)
    assert set(best["state"]) == {"model", "optimizer"}


def test_a_function_continues_bit_equal_from_the_state_of_any_epoch(tmp_path):
    torch.manual_seed(0)
    config = config_of(tmp_path / "whole")
    task = FunctionTask()
    data = task.prepare(config, None)
    whole, states, rest = [], {}, []

    def keep(row, folder):
        whole.append(row)
        states[row["epoch"]] = (tmp_path / str(row["epoch"]), folder)
        torch.save(torch.load(f"{folder}/{STATE_NAME}"), tmp_path / f"{row['epoch']}.pt")

    task.train(config, data, keep)
    task.train(
        config_of(tmp_path / "rest"), data, lambda row, folder: rest.append(row), tmp_path / "2.pt"
    )
    assert rest[0]["epoch"] == 2 and [row["epoch"] for row in rest[0]["history"]] == [1]
    assert figures(rest) == {e: f for e, f in figures(whole).items() if e > 1}


def test_early_stopping_ends_a_function(tmp_path):
    config = config_of(tmp_path, "stubborn", num_epochs=50, early_stopping_patience=3)
    rows = trained(config)
    assert len(rows) == 4 and rows[-1]["stop_reason"] == "early_stopping"


def test_a_function_that_returns_early_says_so(tmp_path):
    rows = trained(config_of(tmp_path, "short"))
    assert rows[-1] == {"stop_reason": RETURNED}


def test_a_function_that_saves_nothing_says_so(tmp_path):
    assert all(row["without_state"] for row in trained(config_of(tmp_path, "forgetful")))
    assert not any("without_state" in row for row in trained(config_of(tmp_path / "other")))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("silent", "silent: returned without a report"),
        ("in_words", "val_mae must be one number, got 'good'"),
        ("unsavable", "must be a tensor.* got Linear"),
    ],
)
def test_what_a_function_does_wrong_is_an_error_that_is_not_tried_again(
    tmp_path, function, message
):
    with pytest.raises(ConfigurationError, match=message):
        trained(config_of(tmp_path, function))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"{HOME}:finetun", "unknown function 'finetun' .* 'finetune'"),
        (f"{HOME}:AbsoluteError", "must take"),
        ("not_there_at_all:f", "is not imported"),
    ],
)
def test_a_wrong_name_of_a_function_says_what_there_is(name, message):
    with pytest.raises(ConfigurationError, match=message):
        function_named(name)


def test_data_are_shared_by_the_parameters_that_prepare_takes(tmp_path):
    task = FunctionTask()
    one, other, more = (
        task.data_key(config_of(tmp_path, parameters=parameters))
        for parameters in ({"lr": 1}, {"lr": 2}, {"lr": 1, "samples": 9})
    )
    assert one == other != more
    config = config_of(tmp_path, parameters={"samples": 9})
    assert len(task.prepare(config, None)[0]) == 9


def test_data_that_cannot_be_made_name_what_prepare_raised(tmp_path):
    config = config_of(tmp_path, parameters={"samples": "many"})
    with pytest.raises(DataLoaderError, match=f"{HOME}:prepare: TypeError"):
        FunctionTask().prepare(config, None)


def test_the_source_of_a_function_has_a_fingerprint(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "edited_training.py"
    config = config_of(tmp_path, trainable="edited_training:f", imports=["edited_training"])
    found = []
    for body in ("pass", "return"):
        module.write_text(f"def f(parameters, context):\n    {body}\n")
        sys.modules.pop("edited_training", None)
        found.append(FunctionTask().code_fingerprint(config))
    sys.modules.pop("edited_training", None)
    assert len(set(found)) == 2 and all(found)
