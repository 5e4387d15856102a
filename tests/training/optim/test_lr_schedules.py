import pytest
from torch import nn

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.training import setup_optimizer_and_scheduler
from raytune_ocr.training.optim.lr_schedules import align_learning_rate


def test_a_rate_that_was_loaded_becomes_that_of_the_schedule_there_is():
    config = TrainingConfig(scheduler_type="cosine", num_epochs=4, learning_rate=0.1)
    optimizer, scheduler = setup_optimizer_and_scheduler(nn.Linear(2, 2), config)
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    reached = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 1e-6
    align_learning_rate(optimizer, scheduler)
    assert [group["lr"] for group in optimizer.param_groups] == reached


@pytest.mark.parametrize(("monitor", "mode"), [("val_char_accuracy", "max"), ("val_loss", "min")])
def test_a_plateau_schedule_follows_its_metric_in_the_direction_of_that(monitor, mode):
    config = TrainingConfig(scheduler_type="plateau", early_stopping_monitor=monitor)
    _, scheduler = setup_optimizer_and_scheduler(nn.Linear(2, 2), config)
    assert scheduler.mode == mode
