"""Optimizers, with their learning-rate schedule, from a `TrainingConfig`."""

from __future__ import annotations

from typing import Any

from torch import nn, optim

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.training.optim.lr_schedules import create_lr_scheduler
from raytune_ocr.training.optim.optimizers import SGD, Adam, AdamW, Muon


def create_optimizer(model: nn.Module, config: TrainingConfig) -> optim.Optimizer:
    """The optimizer of `config`, weight decay on matrices and kernels only.

    The first of `optimizer_betas` is the momentum of SGD and Muon.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    fused = bool(parameters) and parameters[0].device.type in ("cpu", "cuda")
    first, second = config.optimizer_betas
    if config.optimizer_type == "sgd":
        return SGD(groups, lr=config.learning_rate, momentum=first, fused=fused)
    if config.optimizer_type == "muon":
        return Muon(groups, lr=config.learning_rate, betas=(first, second))
    kind = AdamW if config.optimizer_type == "adamw" else Adam
    return kind(groups, lr=config.learning_rate, betas=(first, second), fused=fused)


def setup_optimizer_and_scheduler(
    model: nn.Module, config: TrainingConfig
) -> tuple[optim.Optimizer, Any]:
    """`create_optimizer` and `create_lr_scheduler` in one call."""
    optimizer = create_optimizer(model, config)
    return optimizer, create_lr_scheduler(optimizer, config)


def set_weight_decay(optimizer: optim.Optimizer, weight_decay: float) -> None:
    """Set the weight decay of all groups, but of those without one beside others with one."""
    groups = optimizer.param_groups
    decaying = [group for group in groups if group.get("weight_decay")]
    for group in decaying or groups:
        group["weight_decay"] = weight_decay
