"""What the loop leaves in its `save_dir`, and which epoch is the best."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.training import Trainer
from raytune_ocr.training.checkpoints.state_files import read_state

BATCHES = DataLoader(TensorDataset(torch.ones(4, 1), torch.ones(4, 1)), 4)


class Scripted(Trainer):
    """Reports the values that it is given as a metric of evaluation."""

    def __init__(self, name, values):
        model = nn.Linear(1, 1)
        super().__init__(model, torch.optim.SGD(model.parameters(), 0.0), nn.MSELoss())
        self.name, self.values = name, values

    def evaluate(self, dataloader):
        return {self.name: self.values[self.epoch]}


@pytest.mark.parametrize(
    "name",
    ["mae", "mse", "rmse", "nll", "wer", "ppl", "edit_distance", "perplexity", "brier_score"],
)
def test_a_falling_error_is_an_improvement_and_its_lowest_epoch_is_kept(tmp_path, name):
    trainer = Scripted(name, [0.9, 0.5, 0.2, 0.4, 0.3])
    options = {"best_model_metric": f"eval_{name}", "early_stopping_patience": 2}
    trainer.train(BATCHES, 9, BATCHES, tmp_path, **options)
    assert (trainer.epoch, trainer.stop_reason) == (5, "early_stopping")
    best = read_state(tmp_path / "best_model.pt")
    assert (best["epoch"], best["metric_value"]) == (3, 0.2)


def test_a_metric_of_no_known_direction_needs_a_mode(tmp_path):
    trainer = Scripted("quality", [0.1, 0.3, 0.2])
    with pytest.raises(ConfigurationError, match="mode: must be given for the metric"):
        trainer.train(BATCHES, 3, BATCHES, tmp_path, best_model_metric="eval_quality")
    assert not list(tmp_path.iterdir())
    options = {"best_model_metric": "eval_quality", "mode": "max"}
    trainer.train(BATCHES, 3, BATCHES, tmp_path, **options)
    assert read_state(tmp_path / "best_model.pt")["epoch"] == 2


def test_the_last_epoch_is_always_saved(tmp_path):
    trainer = Scripted("loss", [0.5, 0.4, 0.3, 0.2, 0.1])
    trainer.train(BATCHES, 5, BATCHES, tmp_path, save_freq=2)
    numbered = sorted(path.name for path in tmp_path.glob("checkpoint*"))
    assert numbered == [f"checkpoint_epoch_000{n}.pt" for n in (2, 4, 5)]
    assert [read_state(tmp_path / name)["epoch"] for name in numbered] == [2, 4, 5]


def test_a_checkpoint_stores_the_epoch_that_it_is_given(tmp_path):
    trainer = Scripted("loss", [])
    trainer._save_checkpoint(str(tmp_path / "a.pt"), epoch=7, metric_value=0.5)
    state = trainer.load_checkpoint(str(tmp_path / "a.pt"))
    assert (state["epoch"], state["metric_value"], trainer.epoch) == (7, 0.5, 7)


def test_without_a_metric_no_checkpoint_is_the_best(tmp_path):
    Scripted("loss", [0.5]).train(BATCHES, 1, BATCHES, tmp_path, best_model_metric=None)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_epoch_0001.pt"]


def test_the_best_epoch_of_a_state_is_known_after_a_resume(tmp_path):
    first = Scripted("mae", [0.2, 0.4])
    first.train(BATCHES, 2, BATCHES, tmp_path, best_model_metric="eval_mae")
    second = Scripted("mae", [0.2, 0.4, 0.3])
    second.load_checkpoint(str(tmp_path / "checkpoint_epoch_0002.pt"))
    second.train(BATCHES, 3, BATCHES, tmp_path, best_model_metric="eval_mae")
    assert read_state(tmp_path / "best_model.pt")["epoch"] == 1
