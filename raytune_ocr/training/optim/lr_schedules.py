"""Learning-rate schedules with warm-up."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import optim
from torch.optim import lr_scheduler

from raytune_ocr.config.training_config import TrainingConfig


def create_lr_scheduler(optimizer: optim.Optimizer, config: TrainingConfig) -> Any:
    """The schedule of `config`, stepped once an epoch; None for "none".

    "plateau" follows `early_stopping_monitor`. Apart from a warm-up, no schedule goes below
    `min_lr`.
    """
    if config.scheduler_type == "none":
        return None
    if config.scheduler_type == "plateau":
        return lr_scheduler.ReduceLROnPlateau(
            optimizer,
            mode=config.early_stopping_mode,  # type: ignore[arg-type]
            factor=config.factor,
            patience=config.patience,
            min_lr=config.min_lr,
        )
    return lr_scheduler.LambdaLR(optimizer, _shape(config))


create_scheduler = create_lr_scheduler  # the name in the documents


def _shape(config: TrainingConfig) -> Callable[[int], float]:
    """The learning rate after a number of epochs, as a share of the config's."""
    floor = config.min_lr / config.learning_rate

    def steps(epoch: int) -> float:
        return max(floor, config.gamma ** (epoch // config.step_size))

    def cosine(epoch: int) -> float:
        if epoch < config.warmup_epochs:
            return (epoch + 1) / (config.warmup_epochs + 1)
        length = max(1, config.num_epochs - config.warmup_epochs)
        done = min(1.0, (epoch - config.warmup_epochs) / length)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))

    return steps if config.scheduler_type == "steplr" else cosine


def apply_changes(
    config: TrainingConfig, epochs: int, optimizer: optim.Optimizer, scheduler: Any
) -> None:
    """Set learning rate and weight decay as `config` has them after `epochs` epochs.

    A schedule of epochs continues as if it had started with the new learning rate. "plateau" keeps
    its reductions: its rate is multiplied by the ratio of the new rate to the one before.

    Args:
        optimizer, scheduler: of `create_optimizer` and `create_lr_scheduler`.
    """
    now = config.after(epochs)
    for group in optimizer.param_groups:
        if any(p.ndim > 1 for p in group["params"]):  # as create_optimizer has it
            group["weight_decay"] = now.weight_decay
    if isinstance(scheduler, lr_scheduler.LambdaLR):
        shape = _shape(now)
        scheduler.base_lrs = [now.learning_rate] * len(optimizer.param_groups)
        scheduler.lr_lambdas = [shape] * len(optimizer.param_groups)
        rates = [now.learning_rate * shape(epochs)] * len(optimizer.param_groups)
    elif scheduler is not None:  # plateau: its rate already has the earlier changes
        times = now.learning_rate / config.after(epochs - 1).learning_rate
        rates = [max(now.min_lr, group["lr"] * times) for group in optimizer.param_groups]
    else:
        rates = [now.learning_rate] * len(optimizer.param_groups)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def align_learning_rate(optimizer: optim.Optimizer, scheduler: Any) -> None:
    """Set the learning rate that a schedule of epochs has at its epoch, whatever was loaded.

    A run may be resumed for more epochs than before; the rate in its state is that of the old
    schedule, and the new schedule acts only at its next step.
    """
    if isinstance(scheduler, lr_scheduler.LambdaLR):
        parts = zip(optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
        for group, rate, shape in parts:
            group["lr"] = rate * shape(scheduler.last_epoch)
