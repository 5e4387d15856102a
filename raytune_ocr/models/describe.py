"""Compute the size, the operations and the training memory of each model."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from raytune_ocr.models.presets import ALIASES, PRESETS
from raytune_ocr.models.readers import Reader
from raytune_ocr.models.registry import create_model, parameter_count
from raytune_ocr.vocabulary import IMAGE_HEIGHT, IMAGE_WIDTH


def flops(model: nn.Module) -> int:
    """Floating-point operations (a multiplication and an addition are two) to read one image."""
    images = torch.zeros(1, 1, IMAGE_HEIGHT, IMAGE_WIDTH)
    was_training = model.training
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(images)
    model.train(was_training)
    return int(counter.get_total_flops())


def activation_bytes(model: nn.Module, batch_size: int = 32) -> int:
    """Return the bytes that a forward pass keeps for the backward pass, without weights."""
    model = copy.deepcopy(model).train()  # running statistics would change
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    images = torch.rand(batch_size, 1, IMAGE_HEIGHT, IMAGE_WIDTH)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(images)
    del output
    return sum(kept.values())


def describe_model(name: str, model: Reader) -> dict[str, Any]:
    """One model's row of `describe_models`."""
    with torch.no_grad():
        steps = model(torch.zeros(1, 1, IMAGE_HEIGHT, IMAGE_WIDTH)).shape[1]
    return {
        "name": name,
        "kind": model.kind,
        "parameters": parameter_count(model),
        "mflops": flops(model) / 1e6,
        "activation_mb": activation_bytes(model) / 2**20,
        "steps": steps,
    }


def describe_models(names: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """Return a row for each preset.

    Keys: `name`; `kind`; `parameters`; `mflops` to read one image; `activation_mb`, MiB kept
    for the backward pass at batch 32 in float32 (bfloat16: about half); `steps`, the length of
    the output.
    """
    return [describe_model(name, create_model(name)) for name in names or PRESETS]


def format_models(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows of `describe_models` as a table of plain text."""
    header = ("model", "reads by", "parameters", "MFLOPs/image", "MiB/batch of 32", "output steps")
    lines = [header] + [
        (
            row["name"],
            row["kind"],
            f"{row['parameters']:,}",
            f"{row['mflops']:.1f}",
            f"{row['activation_mb']:.0f}",
            str(row["steps"]),
        )
        for row in rows
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


@cache
def work(model_name: str) -> int:
    """Return the operations of a preset for one image; 0 for other models."""
    return flops(create_model(model_name)) if model_name in {*PRESETS, *ALIASES} else 0
