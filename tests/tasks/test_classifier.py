import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import DataNotFoundError, ModelCreationError
from raytune_ocr.tasks.classifier import ClassifierTask
from tests.fixtures.labelled import animals


def config_of(folder, **settings):
    return TrainingConfig(
        model_name="image_classifier",
        model_options={"width": 2, "depth": 1},
        dataset_name="image_folder",
        dataset_options={"size": 8},
        metadata_path=str(folder),
        early_stopping_monitor="val_accuracy",
        num_epochs=2,
        augmentation=False,
        use_tensorboard=False,
        **settings,
    )


def test_a_classifier_is_trained_with_a_report_after_each_epoch(tmp_path):
    task, rows = ClassifierTask(), []
    config = config_of(animals(tmp_path), output_dir=str(tmp_path / "out"))
    data = task.load(config, allow_outside=False)
    data = task.prepare(config, data)
    task.check(config, data)
    task.train(config, data, lambda row, folder: rows.append(row))
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all(set(task.columns) <= set(row) for row in rows)
    assert rows[-1]["stop_reason"] == "max_epochs"


def test_a_model_is_looked_up_without_data_and_built_with_it(tmp_path):
    config = config_of(animals(tmp_path))
    with pytest.raises(ModelCreationError, match="image_classifier"):
        ClassifierTask().check(TrainingConfig(**{**vars(config), "model_name": "image_clasifier"}))
    wrong = TrainingConfig(**{**vars(config), "model_options": {"wide": 2}})
    data = ClassifierTask().load(wrong, allow_outside=False)
    with pytest.raises(ModelCreationError, match="wide"):
        ClassifierTask().check(wrong, data)


def test_data_that_is_not_there_is_reported_when_it_is_prepared(tmp_path):
    task = ClassifierTask()
    with pytest.raises(DataNotFoundError, match="nowhere"):
        config = config_of(tmp_path / "nowhere")
        task.prepare(config, task.load(config, allow_outside=False))
