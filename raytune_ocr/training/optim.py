"""Optimizers, learning-rate schedules and the device, each from a `TrainingConfig`."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn, optim
from torch.optim import lr_scheduler

from raytune_ocr.config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.training.optimizers import SGD, Adam, AdamW, Muon

logger = logging.getLogger(__name__)


def get_device(name: str = "auto") -> torch.device:
    """The device of that name; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        ConfigurationError: for a device that this machine does not have.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    missing = {
        "cuda": not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count(),
        "mps": not torch.backends.mps.is_available(),
    }
    if missing.get(device.type, False):
        raise ConfigurationError(f"device: this machine has no {name!r}; use auto or cpu")
    return device


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The half precision that `device` computes fast in, or None where it has none.

    bf16 on CUDA where it is native, else fp16; bf16 on CPUs with its instructions (1.5-2x on
    avx512_bf16; slower than float32 without them).
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
    if device.type == "cpu":
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        if any(getattr(torch.cpu, probe, lambda: False)() for probe in probes):
            return torch.bfloat16
    return None


def setup_training_environment(config: TrainingConfig) -> tuple[torch.device, bool]:
    """The device of `config` and whether mixed precision will be used on it.

    Raises:
        ConfigurationError: for a device that this machine does not have.
    """
    device = get_device(config.device)
    use_amp = config.mixed_precision and autocast_dtype(device) is not None
    if config.mixed_precision and not use_amp:
        logger.info("mixed_precision: %s has no fast half precision; float32 is used", device)
    return device, use_amp


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


def create_scheduler(optimizer: optim.Optimizer, config: TrainingConfig) -> Any:
    """The schedule of `config`, stepped once an epoch; None for "none".

    "plateau" follows `early_stopping_monitor`. No schedule goes below `min_lr`, but in a warmup.
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


def _shape(config: TrainingConfig) -> Callable[[int], float]:
    """The learning rate once so many epochs are done, as a share of the config's."""
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


def go_on_with(
    config: TrainingConfig, epochs: int, optimizer: optim.Optimizer, scheduler: Any
) -> None:
    """Learning rate and weight decay as `config` has them once `epochs` epochs are done.

    A schedule of epochs is from here on what it would have been with the new learning rate from the
    start. "plateau" keeps its reductions: its rate becomes as many times higher or lower.

    Args:
        optimizer, scheduler: of `create_optimizer` and `create_scheduler`.
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
    elif scheduler is not None:  # it has a state of its own, which has the changes before this one
        times = now.learning_rate / config.after(epochs - 1).learning_rate
        rates = [max(now.min_lr, group["lr"] * times) for group in optimizer.param_groups]
    else:
        rates = [now.learning_rate] * len(optimizer.param_groups)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def catch_up(optimizer: optim.Optimizer, scheduler: Any) -> None:
    """The learning rate that a schedule of epochs has by now, whatever rate was loaded.

    A run may go on for longer than it was meant to; the rate in its state is of the old schedule,
    and the new one acts only at its next step.
    """
    if isinstance(scheduler, lr_scheduler.LambdaLR):
        parts = zip(optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
        for group, rate, shape in parts:
            group["lr"] = rate * shape(scheduler.last_epoch)


def setup_optimizer_and_scheduler(
    model: nn.Module, config: TrainingConfig
) -> tuple[optim.Optimizer, Any]:
    """`create_optimizer` and `create_scheduler` in one call."""
    optimizer = create_optimizer(model, config)
    return optimizer, create_scheduler(optimizer, config)
