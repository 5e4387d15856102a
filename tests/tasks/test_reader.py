import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ModelCreationError
from raytune_ocr.tasks.base import Metric
from raytune_ocr.tasks.reader import ReaderTask


def test_readers_are_ranked_by_digits_then_strings_whatever_their_training_follows():
    config = TrainingConfig(early_stopping_monitor="val_loss", early_stopping_mode="min")
    ranked = ReaderTask().ranked_by(config)
    assert ranked == (
        Metric("val_char_accuracy", "max"),
        Metric("val_seq_accuracy", "max"),
        Metric("val_loss", "min"),
    )
    assert ReaderTask().monitor(config) == Metric("val_loss", "min")


def test_figures_and_targets_name_columns_of_the_table():
    task = ReaderTask()
    assert set(task.figures.values()) <= set(task.columns)
    assert set(task.targets.values()) <= set(task.figures)
    assert set(task.shown(TrainingConfig()).values()) <= set(task.columns)


def test_a_reader_that_cannot_be_built_is_reported_without_data():
    ReaderTask().check(TrainingConfig(model_name="small"))
    with pytest.raises(ModelCreationError, match="temporal_width: must be an integer"):
        ReaderTask().check(TrainingConfig(model_name="small", model_options={"temporal_width": 0}))


def test_a_picture_of_a_checkpoint_that_is_lost_is_no_error(tmp_path):
    ReaderTask().log_picture(TrainingConfig(), tmp_path / "gone.pt", None, tmp_path / "events", 1)
    assert not (tmp_path / "events").exists()
