"""Evaluate a trained reader on a split: counts, and accuracies with their intervals."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from raytune_ocr.data import PackedSplit
from raytune_ocr.plots import reading_sheet
from raytune_ocr.statistics import wilson
from raytune_ocr.training.metrics import OCRMetrics, decoded_ids
from raytune_ocr.vocabulary import DIGITS, decode

PREDICTIONS = "predictions"  # the picture's name in TensorBoard
PICTURED = 32  # images in it


class Counts(NamedTuple):
    """Correct readings and all readings; digits as `calculate_character_accuracy` counts them."""

    right_strings: int
    strings: int
    right_digits: int
    digits: int


def measure(model: nn.Module, split: PackedSplit, batch_size: int = 64) -> OCRMetrics:
    """Compute all metrics of `model`, in evaluation mode, on a whole split."""
    metrics = OCRMetrics(kind=getattr(model, "kind", "attention"))
    with torch.inference_mode():
        for at in range(0, len(split), batch_size):
            part = slice(at, at + batch_size)
            images = torch.from_numpy(split.images[part]).unsqueeze(1)
            metrics.update(model(images), torch.from_numpy(split.targets[part]))
    return metrics


def counts(metrics: OCRMetrics) -> Counts:
    """The counts behind the accuracies of `metrics`."""
    strings, digits = metrics.totals()
    shares = metrics.compute()
    return Counts(
        round(shares["seq_accuracy"] * strings),
        strings,
        round(shares["char_accuracy"] * digits),
        digits,
    )


def with_intervals(name: str, counted: Counts) -> dict[str, Any]:
    """`<name>_char_accuracy`, `<name>_seq_accuracy` (0 to 1), each with `_interval` [low, high].

    The intervals are Wilson's, 95 %. Digits of one string are not independent, so that of the
    character accuracy is too narrow. `<name>_images` and `<name>_digits` are the totals.
    """
    right_strings, strings, right_digits, digits = counted
    return {
        f"{name}_char_accuracy": right_digits / digits,
        f"{name}_char_accuracy_interval": list(wilson(right_digits, digits)),
        f"{name}_seq_accuracy": right_strings / strings,
        f"{name}_seq_accuracy_interval": list(wilson(right_strings, strings)),
        f"{name}_images": strings,
        f"{name}_digits": digits,
    }


def prediction_sheet(
    model: nn.Module, images: Tensor, targets: Tensor, kind: str = "attention"
) -> np.ndarray:
    """A picture uint8 [H, W, 3] of the first images uint8 [B, 1, H, W] and their readings."""
    images, targets = images[:PICTURED], targets[:PICTURED]
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        read = decoded_ids(model(images.to(device)), kind).cpu()
    pairs = [(_ascii(there), _ascii(ids)) for there, ids in zip(targets, read, strict=True)]
    return reading_sheet(images[:, 0].numpy(), pairs)


def _ascii(ids: Tensor) -> str:
    """Return ids [L] as digits 0-9, because common fonts have no Khmer."""
    return "".join(str(DIGITS.index(digit)) for digit in decode(ids.tolist()))
