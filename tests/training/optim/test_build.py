"""Optimizers are torch's own, without what they import beside their work."""

import subprocess
import sys

import pytest
import torch
from torch import nn, optim

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.training import create_optimizer

STEPS = """
import sys, torch
from raytune_ocr.config import TrainingConfig
from raytune_ocr.training import create_optimizer, create_scheduler
for kind in ("adam", "adamw", "muon", "sgd"):
    model = torch.nn.Linear(2, 2)
    config = TrainingConfig(optimizer_type=kind)
    optimizer = create_optimizer(model, config)
    schedule = create_scheduler(optimizer, config)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    schedule.step()
    optimizer.load_state_dict(optimizer.state_dict())
assert "torch._dynamo" not in sys.modules
"""


def test_training_does_not_import_torchs_compiler():
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("adam", optim.Adam, {"betas": (0.8, 0.99)}),
        ("adamw", optim.AdamW, {"betas": (0.8, 0.99)}),
        ("sgd", optim.SGD, {"momentum": 0.8}),
    ],
)
def test_steps_are_those_of_torchs_own_optimizers(name, kind, settings):
    config = TrainingConfig(
        optimizer_type=name, learning_rate=0.1, weight_decay=0.01, optimizer_betas=[0.8, 0.99]
    )
    ours, theirs = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
    theirs.load_state_dict(ours.state_dict())
    optimizers = (
        create_optimizer(ours, config),
        kind(theirs.parameters(), lr=0.1, weight_decay=0.01, fused=True, **settings),
    )
    assert isinstance(optimizers[0], kind)
    for _ in range(3):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            model(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()
    assert torch.equal(ours.weight, theirs.weight)
    assert not ours.weight.grad.requires_grad
