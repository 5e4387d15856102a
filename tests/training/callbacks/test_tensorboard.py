import math
from types import SimpleNamespace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from raytune_ocr.training import Trainer
from raytune_ocr.training.callbacks.tensorboard import TensorBoardLogger, event_writer


def test_parts_of_a_trial_that_follow_within_a_second_are_read_in_order(tmp_path):
    with event_writer(tmp_path, purge_step=1) as writer:
        writer.add_scalar("train_loss", 0.5, 1)
    (first,) = tmp_path.iterdir()
    second = first.name.split(".")[3]
    first.rename(tmp_path / f"events.out.tfevents.{second}.zz.99999.0")  # another machine's
    with event_writer(tmp_path) as writer:
        writer.add_scalar("train_loss", 0.4, 2)
    seen = EventAccumulator(str(tmp_path)).Reload()
    assert [row.step for row in seen.Scalars("train_loss")] == [1, 2]


def test_hparams_has_the_settings_and_the_best_value_also_after_a_resume(tmp_path):
    def epochs(logger, first, *losses):
        logger.on_train_begin(SimpleNamespace(epoch=first))
        for epoch, loss in enumerate(losses, first):
            logger.on_epoch_end(None, epoch, {"val_loss": loss, "val_f1": loss})
        logger.on_train_end(SimpleNamespace(epoch=first + len(losses)))
        return logger.state_dict()

    def logger():
        modes = {"val_loss": "min", "val_f1": "max"}
        return TensorBoardLogger(tmp_path, settings={"learning_rate": 0.1}, metrics=modes)

    state = epochs(logger(), 0, 0.5, 0.2, math.nan)
    later = logger()
    later.load_state_dict(state)
    epochs(later, 3, 0.4)
    seen = EventAccumulator(str(tmp_path)).Reload()
    assert seen.Scalars("best_val_loss")[-1].value == pytest.approx(0.2)
    assert seen.Scalars("best_val_f1")[-1].value == pytest.approx(0.5)
    output = seen.PluginTagToContent("hparams")
    assert "_hparams_/session_start_info" in output
    assert "_hparams_/experiment" not in output  # TensorBoard lists what differs between runs first


def test_a_resume_leaves_the_steps_of_the_epochs_before_it(tmp_path):
    def log(epochs, state=None):
        generator = torch.Generator().manual_seed(1)
        data = TensorDataset(torch.randn(64, 4, generator=generator), torch.zeros(64, 1))
        model = nn.Linear(4, 1)
        loop = Trainer(model, torch.optim.SGD(model.parameters(), 0.1), nn.MSELoss())
        if state:
            loop.load_state_dict(state)
        loop.train(DataLoader(data, 8), epochs, callbacks=[TensorBoardLogger(tmp_path, 4)])
        return loop.state_dict()

    log(3)
    state = log(2)  # anew, then the last of the epochs before once more
    log(3, state)
    steps = EventAccumulator(str(tmp_path / "steps")).Reload().Scalars("step/loss")
    assert [row.step for row in steps] == [4, 8, 12, 16, 20, 24]
    epochs = EventAccumulator(str(tmp_path)).Reload().Scalars("train_loss")
    assert [row.step for row in epochs] == [1, 2, 3]
