import pytest

from raytune_ocr.config.metrics import score_of as oriented
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ModelCreationError
from raytune_ocr.plugins import import_modules
from raytune_ocr.tasks.registry import task_of
from raytune_ocr.training.checkpoints.state_files import read_state, write_state

HOME = "tests.fixtures.own_training"


def config_of(folder, task="Regression", metric="val_mae", **settings):
    return TrainingConfig(
        task=f"{HOME}:{task}",
        early_stopping_monitor=metric,
        num_epochs=4,
        learning_rate=0.1,
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


@pytest.mark.parametrize(
    ("task", "metric", "mode"), [("Regression", "mae", "min"), ("Segmentation", "iou", "max")]
)
def test_a_task_is_trained_on_the_loop_and_resumed_bit_equal(tmp_path, task, metric, mode):
    import_modules([HOME])
    kept, followed = tmp_path / "state.pt", f"val_{metric}"
    whole = trained(config_of(tmp_path / "whole", task, followed), keep=kept)
    assert whole[0]["reported"] == ["train_loss", f"train_{metric}", "val_loss", followed]
    assert oriented(whole[-1][followed], mode) > oriented(whole[0][followed], mode)
    rest = trained(config_of(tmp_path / "rest", task, followed), kept)
    names = ("epoch", *whole[0]["reported"])
    assert [[r[n] for n in names] for r in rest] == [[r[n] for n in names] for r in whole[1:]]


def test_a_model_that_a_value_makes_impossible_is_named(tmp_path):
    import_modules([HOME])
    with pytest.raises(ModelCreationError, match=r"Regression\.build: RuntimeError"):
        config = config_of(tmp_path, parameters={"width": -1})
        task = task_of(config)
        task.trainer(config, task.prepare(config, None))
