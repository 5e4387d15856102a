"""Batches of any kind: onto the device, counted, and taken apart into inputs and targets."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from raytune_ocr.errors import DataLoaderError

LABEL_KEYS = ("labels", "label")


def to_device(value: Any, device: torch.device) -> Any:
    """`value` with all its tensors on `device`.

    Lists and named tuples keep their class; a mapping, such as a tokenizer's output, becomes a
    dict.
    """
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {key: to_device(item, device) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [to_device(item, device) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def batch_size(batch: Any) -> int:
    """Samples in a batch: the length of the first tensor in it, or 1."""
    if isinstance(batch, Tensor):
        return len(batch)
    values = list(batch.values()) if isinstance(batch, Mapping) else batch
    return next((batch_size(v) for v in values if isinstance(v, (Tensor, list, tuple))), 1)


def set_epoch(dataloader: Any, epoch: int) -> None:
    """Call `set_epoch` of the loader's sampler and dataset, if they have it."""
    for part in ("sampler", "dataset"):
        setter = getattr(getattr(dataloader, part, None), "set_epoch", None)
        if setter is not None:
            setter(epoch)


def inputs_and_targets(batch: Any, model: nn.Module) -> tuple[Any, Any]:
    """`(inputs, targets)` of a batch.

    Of a tuple, the last one is the targets. Of a mapping, `labels` or `label` is; it stays among
    the inputs, as `labels`, where the model takes it (Hugging Face).

    Raises:
        DataLoaderError: when a mapping has keys that the model does not take.
    """
    if isinstance(batch, Mapping):
        return _of_mapping(batch, model)
    if isinstance(batch, (list, tuple)):
        if len(batch) == 2:
            return batch[0], batch[1]
        return tuple(batch[:-1]), batch[-1]
    return batch, batch


def _of_mapping(batch: Mapping[str, Any], model: nn.Module) -> tuple[Any, Any]:
    key = next((key for key in LABEL_KEYS if key in batch), None)
    targets = None if key is None else batch[key]
    taken, takes_any = _arguments(model)
    if takes_any:
        renamed = key == "label" and "labels" in taken and "label" not in taken
        return {LABEL_KEYS[0] if renamed and n == key else n: v for n, v in batch.items()}, targets
    inputs = {name: value for name, value in batch.items() if name != key}
    if key is not None and key in taken:
        inputs[key] = targets
    elif key is not None and LABEL_KEYS[0] in taken:
        inputs[LABEL_KEYS[0]] = targets
    foreign = [name for name in inputs if name not in taken]
    if foreign and len(inputs) == 1:  # under whatever name
        return inputs[foreign[0]], targets
    if foreign:
        raise DataLoaderError(
            f"batch: its keys must be arguments of the model's forward ({', '.join(taken)}), "
            f"labels or label, got {', '.join(foreign)}; rename them in the dataset or override "
            "_prepare_batch"
        )
    return inputs, targets


def _arguments(model: nn.Module) -> tuple[list[str], bool]:
    """Return the names that the model's `forward` takes, and whether it takes any other too."""
    parameters = inspect.signature(model.forward).parameters.values()
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    return [parameter.name for parameter in parameters], takes_any
