"""Settings that change in mid-training do so at their epoch, resumed or not, to the last bit."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.training import Trainer, seed_everything, setup_optimizer_and_scheduler
from raytune_ocr.training.callbacks.scheduled_changes import ScheduledChanges

CHANGES = [
    {"after_epoch": 2, "learning_rate": 0.02, "weight_decay": 0.1},
    {"after_epoch": 4, "learning_rate": 0.005, "gradient_clip_norm": 0.5, "label_smoothing": 0.2},
]
SCHEDULES = [
    {"scheduler_type": "none"},
    {"scheduler_type": "steplr", "step_size": 2},
    {"scheduler_type": "cosine", "warmup_epochs": 3},
    {"scheduler_type": "plateau", "patience": 0},
]


def config(changes=CHANGES, **settings):
    return TrainingConfig(
        learning_rate=0.01,
        min_lr=1e-4,
        num_epochs=6,
        changes=changes,
        **{"early_stopping_monitor": "eval_loss", **settings},
    )


def loader():
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(x, x[:, :3].argmax(1)), batch_size=8, shuffle=True)


class Run:
    """One training, its states by epoch and its rates."""

    def __init__(self, settings, state=None):
        seed_everything(3)
        model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.2), nn.Linear(8, 3))
        optimizer, scheduler = setup_optimizer_and_scheduler(model, settings)
        self.trainer = Trainer(
            model,
            optimizer,
            nn.CrossEntropyLoss(),
            {"training": {"max_grad_norm": settings.gradient_clip_norm}},
            torch.device("cpu"),
            scheduler,
        )
        self.trainer.plateau_metric = settings.early_stopping_monitor
        self.states = {}
        if state is not None:
            self.trainer.load_state_dict(state)
        self.settings = settings

    def train(self):
        made = [ScheduledChanges(self.settings)] if self.settings.changes else []
        self.trainer.train(loader(), 6, loader(), callbacks=[*made, self.keep])
        return self

    def keep(self, trainer, epoch, metrics):
        state = trainer.state_dict()
        state["model_state_dict"] = {k: v.clone() for k, v in state["model_state_dict"].items()}
        self.states[epoch + 1] = torch.load(saved(state), weights_only=False)

    @property
    def rates(self):
        return self.trainer.history["learning_rate"]

    @property
    def figures(self):
        history = self.trainer.history
        return {name: history[name] for name in ("train_loss", "eval_loss", "learning_rate")}


def saved(state):
    import io

    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return file


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s["scheduler_type"])
def test_a_run_resumed_around_a_change_is_bit_equal(schedule):
    whole = Run(config(**schedule)).train()
    for stopped_at in range(1, 6):
        resumed = Run(config(**schedule), whole.states[stopped_at]).train()
        assert resumed.figures == whole.figures


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s["scheduler_type"])
def test_a_run_that_continues_from_anothers_state_equals_one_from_the_start(schedule):
    parent = Run(config(CHANGES[:1], **schedule)).train()
    child = Run(config(**schedule), parent.states[4]).train()
    assert child.figures == Run(config(**schedule)).train().figures
    assert child.rates[:4] == parent.rates[:4] and child.rates[4] != parent.rates[4]


def test_each_schedule_continues_with_the_new_rate():
    none, steps, cosine, plateau = (Run(config(**s)).train() for s in SCHEDULES)
    assert none.rates == [0.01, 0.01, 0.02, 0.02, 0.005, 0.005]
    assert steps.rates == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.00125, 0.00125])
    share = [0.25, 0.5, 0.75, 1.0, *(0.5 * (1 + math.cos(math.pi * n / 3)) for n in (1, 2))]
    rates = [0.01, 0.01, 0.02, 0.02, 0.005, 0.005]
    assert cosine.rates == pytest.approx(
        [rate * part for rate, part in zip(rates, share, strict=True)], abs=1e-4
    )
    assert plateau.rates[2] >= plateau.rates[1] and min(plateau.rates) >= 1e-4


def test_decay_clipping_and_smoothing_change_as_well():
    trainer = Run(config()).train().trainer
    assert [group["weight_decay"] for group in trainer.optimizer.param_groups] == [0.1, 0.0]
    assert (trainer.max_grad_norm, trainer.loss_fn.label_smoothing) == (0.5, 0.2)


def test_settings_after_an_epoch_are_reported_by_the_config():
    settings = config()
    assert [settings.after(n).learning_rate for n in (0, 1, 2, 4, 9)] == [
        *(0.01, 0.01, 0.02, 0.005, 0.005)
    ]
    assert settings.after(4).weight_decay == 0.1
