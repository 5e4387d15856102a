"""Reads images with a trained model, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import nn


BATCHES_AT_ONCE = 8  # of which what is doubtful is looked at again together, in fuller batches


@dataclass(frozen=True)
class Reading:
    """What was read in one file; `confidence` from 0 to 1."""

    file: str
    text: str
    confidence: float


def read_images(
    model: nn.Module, images: np.ndarray, batch_size: int = 64
) -> list[tuple[str, float]]:
    """Texts and confidences of packed images, uint8 [N, H, W], as they are measured in training.

    In float32 everywhere, so that a checkpoint, its exports and other machines read alike, and
    without a second look.
    """
    read = _batch_reader(model, mixed_precision=False, second_look=False, batch_size=batch_size)
    return read(images)


def _batch_reader(
    model: nn.Module, mixed_precision: bool, second_look: bool, batch_size: int
) -> Callable[[np.ndarray], list[tuple[str, float]]]:
    """What reads images, uint8 [N, H, W], by `batch_size`, with `model` as it reads fastest."""
    import torch

    from raytune_ocr.inference.second_look import read_carefully, read_once
    from raytune_ocr.models import folded
    from raytune_ocr.training.device import autocast_dtype
    from raytune_ocr.vocabulary import decode

    reader, kind = folded(model), getattr(model, "kind", "attention")
    half = autocast_dtype(torch.device("cpu")) if mixed_precision else None
    read = read_carefully if second_look else read_once

    def read_batch(images: np.ndarray) -> list[tuple[str, float]]:
        with torch.inference_mode(), torch.autocast("cpu", half, enabled=half is not None):
            ids, confidences = read(reader, kind, torch.from_numpy(images).unsqueeze(1), batch_size)
        return list(zip(map(decode, ids.tolist()), confidences.tolist(), strict=True))

    return read_batch


def predict(
    model: nn.Module,
    files: Sequence[Path],
    batch_size: int = 64,
    unreadable: list[str] | None = None,
    mixed_precision: bool = False,
    first_only: list[str] | None = None,
    second_look: bool = True,
) -> Iterator[Reading]:
    """Readings in the order of `files`; what is no image is noted in `unreadable` and skipped.

    Args:
        mixed_precision: compute in half precision where this machine is fast in it, else in
            float32.
        first_only: files of which only the first of several pictures was read are noted there.
        second_look: read doubtful images again at other sizes (`models.read_carefully`).
    """
    import numpy as np
    from PIL import Image

    from raytune_ocr.data.images import UNREADABLE, holds_several, to_canvas

    read_batch = _batch_reader(model, mixed_precision, second_look, batch_size)
    at_once = BATCHES_AT_ONCE * batch_size
    for start in range(0, len(files), at_once):
        canvases, names = [], []
        for file in files[start : start + at_once]:
            try:
                with Image.open(file) as image:
                    canvases.append(to_canvas(image))
                    if first_only is not None and holds_several(image):
                        first_only.append(str(file))
                names.append(str(file))
            except UNREADABLE as error:
                if unreadable is not None:
                    unreadable.append(f"{file}: {error}")
        if canvases:
            readings = read_batch(np.stack(canvases))
            for name, (text, confidence) in zip(names, readings, strict=True):
                yield Reading(name, text, confidence)
