import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ModelCreationError
from raytune_ocr.tasks.registry import task_of
from raytune_ocr.training.checkpoints.state_files import read_state, write_state

TASK = "tests.fixtures.own_training:Regression"


def config_of(folder, **settings):
    return TrainingConfig(
        task=TASK,
        early_stopping_monitor="val_mae",
        num_epochs=4,
        learning_rate=0.02,
        scheduler_type="cosine",
        use_tensorboard=False,
        output_dir=str(folder),
        **settings,
    )


def trained(config, state=None, keep=None):
    task, rows = task_of(config), []

    def report(row, folder):
        rows.append(row)
        if keep is not None and folder and row["epoch"] == 2:
            write_state(keep, read_state(f"{folder}/state.pt"))

    data = task.prepared(config, None)
    task.check(config, data)
    task.train(config, data, report, state)
    return rows


def test_a_task_of_ones_own_is_trained_on_the_loop_and_resumed_bit_equal(tmp_path):
    import tests.fixtures.own_training  # noqa: F401 - as the command line imports it

    kept = tmp_path / "state.pt"
    whole = trained(config_of(tmp_path / "whole"), keep=kept)
    assert whole[0]["reported"] == ["train_loss", "train_mae", "val_loss", "val_mae"]
    assert whole[-1]["val_mae"] < whole[0]["val_mae"]
    rest = trained(config_of(tmp_path / "rest"), kept)
    names = ("epoch", *whole[0]["reported"])
    assert [[r[n] for n in names] for r in rest] == [[r[n] for n in names] for r in whole[1:]]


def test_a_model_that_a_value_makes_impossible_is_named(tmp_path):
    with pytest.raises(ModelCreationError, match=r"Regression\.build: RuntimeError"):
        task = task_of(config_of(tmp_path, parameters={"width": -1}))
        config = config_of(tmp_path, parameters={"width": -1})
        task.trainer(config, task.prepare(config, None))
