import torch

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import create_dataset
from raytune_ocr.training import ClassifierTrainer, OCRTrainer, train_from_config
from raytune_ocr.training.build import create_trainer
from raytune_ocr.training.checkpoints.run_folder import STATE_NAME
from raytune_ocr.training.checkpoints.state_files import read_state
from tests.fixtures.labelled import animals
from tests.fixtures.readers import packed


def photos(folder, **settings):
    return TrainingConfig(
        model_name="image_classifier",
        model_options={"width": 2, "depth": 1},
        dataset_name="image_folder",
        dataset_options={"size": 8},
        metadata_path=str(animals(folder)),
        early_stopping_monitor="val_loss",
        early_stopping_mode="min",
        output_dir=str(folder / "out"),
        use_tensorboard=False,
        **settings,
    )


def test_digits_have_a_trainer_of_readers_whatever_gives_the_data(tmp_path):
    config = TrainingConfig(model_name="small", output_dir=str(tmp_path))
    trainer = create_trainer(config, {"train": packed(40), "val": packed(10)})
    assert isinstance(trainer, OCRTrainer)
    assert len(trainer.train_loader.dataset) == 40


def test_a_classifier_gets_its_classes_from_the_data(tmp_path):
    trainer = create_trainer(photos(tmp_path))
    assert isinstance(trainer, ClassifierTrainer)
    assert trainer.config.class_names == ["cat", "dog", "newt"]
    assert trainer.model.head[1].out_features == 3


def test_each_epoch_is_reported_with_its_state_and_the_best_so_far(tmp_path):
    rows, states = [], []

    def report(row, folder):
        rows.append(row)
        states.append(read_state(f"{folder}/{STATE_NAME}"))

    config = photos(tmp_path, num_epochs=3)
    train_from_config(config, create_dataset(config), report=report)
    assert [state["epoch"] for state in states] == [row["epoch"] for row in rows] == [1, 2, 3]
    losses = [row["val_loss"] for row in rows]
    assert [row["best_score"] for row in rows] == [-min(losses[:n]) for n in (1, 2, 3)]
    assert [row["stop_reason"] for row in rows] == ["", "", "max_epochs"]


def test_the_last_report_before_an_interruption_is_reported_again_with_what_came_before(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    rows = []

    def report(row, folder):
        rows.append(row)
        if folder is not None and row["epoch"] == 2:
            torch.save(torch.load(f"{folder}/{STATE_NAME}", weights_only=True), kept / STATE_NAME)

    config = photos(tmp_path, num_epochs=2)
    train_from_config(config, report=report)
    first = rows.copy()
    rows.clear()
    train_from_config(config, report=report, resume_from=kept)
    (again,) = rows
    assert [row["epoch"] for row in again.pop("history")] == [1]
    assert again["epoch"] == 2 and again["val_loss"] == first[1]["val_loss"]
