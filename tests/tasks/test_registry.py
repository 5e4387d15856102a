from typing import ClassVar

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tasks import registry
from raytune_ocr.tasks.registry import TASKS, figure_names, target_keys, target_metrics, task_of


def test_digits_are_read_and_anything_else_is_classified():
    assert task_of(TrainingConfig()).name == "reader"
    photos = TrainingConfig(dataset_name="mnist", early_stopping_monitor="val_accuracy")
    assert task_of(photos).name == "classifier"


def test_figures_rank_in_the_order_of_the_tasks():
    assert figure_names()[:2] == ["best_val_char_accuracy", "best_val_seq_accuracy"]
    assert "best_val_accuracy" in figure_names()


def test_every_goal_is_compared_with_a_figure_of_a_result():
    known = {*figure_names(), "train_time_per_epoch", "best_epoch"}
    assert set(target_keys().values()) <= known
    assert target_metrics()["character_accuracy"] == "val_char_accuracy"
    assert target_metrics()["val_loss"] == "val_loss"
    assert "train_loss" not in target_metrics()


def test_a_task_of_another_package_is_one_like_the_packages_own(monkeypatch):
    class Counting(TASKS["classifier"]):
        name = "counting"
        columns = ("train_loss", "val_count_error")
        figures: ClassVar = {"best_val_count_error": "val_count_error"}
        targets: ClassVar = {"count_error": "best_val_count_error"}

    monkeypatch.setattr(registry, "all_tasks", lambda: [Counting()])
    assert figure_names() == ["best_val_count_error"]
    assert target_metrics() == {
        "count_error": "val_count_error",
        "val_count_error": "val_count_error",
    }


def test_an_unknown_task_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match=r"unknown task 'raeder'.*'reader'\?"):
        registry.task_named("raeder")
