"""Choose the device and its half precision."""

from __future__ import annotations

import logging

import torch

from raytune_ocr.config.rules import DEVICE
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError

logger = logging.getLogger(__name__)


def get_device(name: str | torch.device = "auto") -> torch.device:
    """The device of that name; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        ConfigurationError: for a device that does not exist or that this machine does not have.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigurationError(f"device: must be {DEVICE.text}, got {name!r}") from None
    missing = {
        "cuda": not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count(),
        "mps": not torch.backends.mps.is_available(),
    }
    if missing.get(device.type, False):
        raise ConfigurationError(f"device: this machine has no {str(name)!r}; use auto or cpu")
    return device


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The half precision in which `device` is fast, or None where it has none.

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
    """The device of `config`, and whether mixed precision is used on it.

    Raises:
        ConfigurationError: for a device that this machine does not have.
    """
    device = get_device(config.device)
    use_amp = config.mixed_precision and autocast_dtype(device) is not None
    if config.mixed_precision and not use_amp:
        logger.info("mixed_precision: %s has no fast half precision; float32 is used", device)
    return device, use_amp
