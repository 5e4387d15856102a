import math

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ModelCreationError
from raytune_ocr.tasks.base import Metric, Task


@pytest.mark.parametrize(
    ("mode", "row", "score"),
    [("max", {"f1": 0.5}, 0.5), ("min", {"f1": 0.5}, -0.5), ("max", {"f1": True}, 1.0)],
)
def test_a_score_is_higher_is_better_whatever_the_metric(mode, row, score):
    assert Metric("f1", mode).score(row) == score


@pytest.mark.parametrize("row", [{}, {"f1": None}, {"f1": math.nan}])
def test_an_epoch_without_the_metric_has_no_score(row):
    assert math.isnan(Metric("f1", "min").score(row))


class Nothing(Task):
    name = "nothing"


def test_a_task_follows_what_its_config_follows_and_breaks_ties_by_the_loss():
    config = TrainingConfig(early_stopping_monitor="val_cer", early_stopping_mode="min")
    task = Nothing()
    assert task.monitor(config) == Metric("val_cer", "min")
    assert task.ranked_by(config) == (Metric("val_cer", "min"), Metric("val_loss", "min"))
    assert task.shown(config) == {"cer": "val_cer"}


def test_a_task_must_say_how_it_trains_and_nothing_else():
    task, config = Nothing(), TrainingConfig()
    task.check(config)
    assert task.prepare(config, task.load(config, allow_outside=False)) is None
    assert task.read_test_split(config, "best.pt", {}, False) == {}
    with pytest.raises(ModelCreationError, match="Nothing: must have build"):
        task.train(config, None, print)
