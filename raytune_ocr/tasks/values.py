"""What a user's code hands over, checked: metrics are numbers, states are tensors and plain values.

A state is read back without unpickling anything else, so what cannot be read is refused as it is
saved, not at the resume that needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raytune_ocr.config.rules import shown
from raytune_ocr.errors import ConfigurationError

RESERVED = frozenset(
    (
        *("experiment_name", "epoch", "batch_size", "threads", "seconds", "images_per_second"),
        *("memory_mb", "cpu_percent", "gpu_memory_mb", "model_parameters", "rank", "status"),
        *("stop_reason", "error_message", "error_log", "checkpoint", "checkpoint_missing", "seed"),
        *("search", "parent", "parent_epoch", "confirms", "batch_size_used", "accumulation_used"),
        *("best_epoch", "best_metric", "best_value", "best_mode", "best_score", "total_epochs"),
        *("cpus", "gpus", "cpu_kwh", "gpu_kwh", "cpu_hours", "gpu_hours", "money", "ended_at"),
        *("saved_cpu_hours", "saved_gpu_hours", "saved_money"),
        *("training_time", "train_time_per_epoch", "final_train_loss", "source", "reported"),
    )
)
"""Columns of the tables of results, and keys of a report, that are no metric's."""


def checked_metrics(metrics: Mapping[Any, Any]) -> dict[str, float]:
    """Return the metrics of an epoch as Python's floats.

    Raises:
        ConfigurationError: names the metric, its value and its type.
    """
    return {_checked_name(name): _number(name, value) for name, value in metrics.items()}


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ConfigurationError(f"context.report: a metric must have a name, got {shown(name)}")
    if name in RESERVED or name.startswith(("meets_", "parameters.")):
        raise ConfigurationError(
            f"context.report: a metric must not be named {name!r}, since results have a column "
            "of that name; give it another one"
        )
    return name


def _number(name: str, value: Any) -> float:
    item = getattr(value, "item", None)
    number = value
    if item is not None and getattr(value, "size", None) is not None:
        try:
            number = item()
        except (RuntimeError, ValueError):  # of more or fewer elements than one
            number = None
    if isinstance(number, (bool, int, float)):
        return float(number)
    raise ConfigurationError(
        f"context.report: {name} must be one number, got {shown(value)} ({type(value).__name__})"
    )


def savable(value: Any, path: str = "state") -> Any:
    """Return a copy of a state: tensors on the CPU, NumPy's arrays as tensors.

    Raises:
        ConfigurationError: names the part that is neither a tensor nor a plain value.
    """
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return torch.from_numpy(value.copy())
    if isinstance(value, Mapping):
        return {savable(k, path): savable(v, f"{path}[{k!r}]") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [savable(part, f"{path}[{n}]") for n, part in enumerate(value)]
        return tuple(parts) if isinstance(value, tuple) else parts
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    raise ConfigurationError(
        f"context.save: {path} must be a tensor, an array, a plain value, or a mapping or list of "
        f"these, got {type(value).__name__}; save its state_dict(), or files by save_folder()"
    )
