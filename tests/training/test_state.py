import copy
import math

import pytest
import torch
from torch import nn

from raytune_ocr.errors import (
    CheckpointError,
)
from raytune_ocr.training import Trainer
from raytune_ocr.training.callbacks.early_stopping import EarlyStoppingCallback
from raytune_ocr.training.checkpoints.state_files import write_state
from tests.fixtures.trainers import loader, trainer


def test_weights_that_are_put_in_are_evaluated_not_an_earlier_average():
    instance = trainer({"training": {"ema_decay": 0.9}})
    instance.train(loader(), 2)
    other = trainer()
    other.train(loader(), 5)
    instance.load_weights(other.model.state_dict())
    batches = loader(shuffle=False)
    assert instance.evaluate(batches) == other.evaluate(batches)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    trainer().train(loader(), 1, save_dir=tmp_path)
    other = Trainer(nn.Linear(3, 1), torch.optim.SGD([torch.zeros(1)], 0.1), nn.MSELoss())
    with pytest.raises(CheckpointError, match="another model"):
        other.load_checkpoint(str(tmp_path / "best_model.pt"))


def test_two_callbacks_of_a_class_keep_a_state_each(tmp_path):
    def stoppers():
        return [EarlyStoppingCallback("eval_loss", 9), EarlyStoppingCallback("train_loss", 9)]

    trainer().train(loader(), 2, loader(shuffle=False), save_dir=tmp_path, callbacks=stoppers())
    resumed, again = trainer(), stoppers()
    resumed.load_checkpoint(str(tmp_path / "checkpoint_epoch_0002.pt"))
    history = resumed.train(loader(), 2, loader(shuffle=False), callbacks=again)
    best = [min(history[name]) for name in ("eval_loss", "train_loss")]
    assert [callback.stopping.best_score for callback in again] == best


def test_more_patience_after_a_resume_continues_with_a_run_that_was_stopped(tmp_path):
    first = trainer(learning_rate=0.0)
    evaluation = loader(shuffle=False)
    first.train(loader(), 9, evaluation, save_dir=tmp_path, early_stopping_patience=1)
    assert (first.epoch, first.stop_reason) == (2, "early_stopping")
    resumed = trainer(learning_rate=0.0)
    resumed.load_checkpoint(str(tmp_path / "checkpoint_epoch_0002.pt"))
    resumed.train(loader(), 9, evaluation, early_stopping_patience=3)
    assert (resumed.epoch, resumed.stop_reason) == (4, "early_stopping")


def test_an_optimizer_without_its_schedule_continues_after_its_epoch(tmp_path):
    trainer().train(loader(), 2, save_dir=tmp_path)
    path = str(tmp_path / "checkpoint_epoch_0002.pt")
    instance = trainer()
    instance.scheduler = torch.optim.lr_scheduler.StepLR(instance.optimizer, 1)
    instance.load_checkpoint(path, load_optimizer=False)  # it was saved without a schedule
    instance.load_checkpoint(path, load_scheduler=False)
    instance.train(loader(), 3)
    assert instance.epoch == 3
    assert [math.isnan(value) for value in instance.history["train_loss"]] == [True, True, False]


def test_a_state_without_weights_is_a_key_error(tmp_path):
    write_state(tmp_path / "a.pt", {"epoch": 1})
    with pytest.raises(KeyError, match="must have model_state_dict"):
        trainer().load_checkpoint(str(tmp_path / "a.pt"))
    with pytest.raises(FileNotFoundError):
        trainer().load_checkpoint(str(tmp_path / "b.pt"))


def test_a_checkpoint_that_lacks_a_part_is_named_and_changes_nothing(tmp_path):
    instance, path = trainer(), tmp_path / "weights.pt"
    before = copy.deepcopy(instance.model.state_dict())
    write_state(path, {"model_state_dict": {n: torch.zeros_like(w) for n, w in before.items()}})
    with pytest.raises(KeyError, match=r"weights\.pt: must have optimizer_state_dict"):
        instance.load_checkpoint(str(path))
    assert all(torch.equal(w, before[n]) for n, w in instance.model.state_dict().items())
