"""Reads images with a trained reader or classifier, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Union, cast

import numpy as np
import torch

from raytune_ocr.data.images import (
    UNREADABLE,
    holds_several,
    image_of,
    open_image,
    to_canvas,
    to_pixels,
)
from raytune_ocr.data.plain_png import decode_plain_png
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.inference.calibration import KEY, Calibration
from raytune_ocr.inference.second_look import read_carefully, read_once
from raytune_ocr.inference.text_lines import count_lines
from raytune_ocr.models import folded
from raytune_ocr.training.device import autocast_dtype
from raytune_ocr.vocabulary import MAX_DIGITS, decode

if TYPE_CHECKING:
    from PIL import Image
    from torch import nn

Item = TypeVar("Item")
Candidate = tuple[str, float]  # a text and its confidence
ImageSource = Union[str, Path, "Image.Image", "np.ndarray"]


BATCHES_AT_ONCE = 8  # of which what is doubtful is looked at again together, in fuller batches


TOO_LONG = f"more than the {MAX_DIGITS} digits that a label has"
SEVERAL_LINES = "several lines of text; a reader handles a single line"


@dataclass(frozen=True)
class Reading:
    """What was read in one file.

    Attributes:
        text: the digits, or the name of the class.
        confidence: from 0 to 1; 0 where the text is not what the image shows.
        note: why it is not; "" where nothing speaks against it.
        others: the next likely classes and the confidence of each, where `top_k` asks for more.
    """

    file: str
    text: str
    confidence: float
    note: str = ""
    others: tuple[tuple[str, float], ...] = ()


def read_images(
    model: nn.Module, images: np.ndarray, batch_size: int = 64, second_look: bool = False
) -> list[tuple[str, float]]:
    """Texts and confidences of packed images, uint8 [N, H, W], as they are measured in training.

    In float32 everywhere, so that a checkpoint, its exports and other machines read alike;
    confidences are the model's own, not calibrated.
    """
    read = _batch_reader(
        model, mixed_precision=False, second_look=second_look, batch_size=batch_size
    )
    parts = range(0, len(images), BATCHES_AT_ONCE * batch_size)
    return [reading for at in parts for reading in read(images[at : at + parts.step])]


def _batch_reader(
    model: nn.Module, mixed_precision: bool, second_look: bool, batch_size: int
) -> Callable[[np.ndarray], list[tuple[str, float]]]:
    """Return a function that reads images, uint8 [N, H, W], in batches, with a fused `model`."""
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
    files: Sequence[ImageSource],
    batch_size: int = 64,
    unreadable: list[str] | None = None,
    mixed_precision: bool = False,
    first_only: list[str] | None = None,
    second_look: bool = True,
    top_k: int = 1,
) -> Iterator[Reading]:
    """Readings in the order of `files`; what is no image is noted in `unreadable` and skipped.

    Args:
        model: a reader of digits, or a classifier: a model with `class_names` and `image_shape`.
            With a `calibration`, as an export has, confidences are the shares that are right.
        mixed_precision: compute in half precision where this machine is fast in it, else in
            float32.
        first_only: files of which only the first of several pictures was read are noted there.
        second_look: read doubtful images of digits again at other sizes (`read_carefully`).
        top_k: classes of a classifier to name.

    Raises:
        ConfigurationError: `top_k` of a reader, which has no classes.
    """
    if hasattr(model, "class_names"):
        shape = cast("list[int]", model.image_shape)
        read = _batch_classifier(model, mixed_precision, batch_size, top_k)
        pictures = _decoded(files, lambda source: _pixels(source, shape), unreadable, first_only)
    else:
        if top_k != 1:
            raise ConfigurationError(
                f"--top-k: must be 1 for a digit recognition model, got {top_k}; only an image "
                "classifier has further classes"
            )
        read = _noting_lines(_batch_reader(model, mixed_precision, second_look, batch_size))
        pictures = _decoded(files, _canvas, unreadable, first_only)
    calibrated = getattr(model, KEY, Calibration())
    for part in _batches(pictures, BATCHES_AT_ONCE * batch_size):
        names, images = zip(*part, strict=True)
        for name, (best, *others, note) in zip(names, read(images), strict=True):
            yield _reading(name, best, others, note, calibrated)


def _reading(
    name: str, best: Candidate, others: Sequence[Candidate], note: str, calibrated: Calibration
) -> Reading:
    """A reading with calibrated confidences, which add up to 1 as before."""
    text, confidence = best
    known = calibrated(confidence)
    rest = (1 - known) / (1 - confidence) if confidence < 1 else 0.0
    return Reading(name, text, known, note, tuple((other, p * rest) for other, p in others))


def _noting_lines(
    read_batch: Callable[[np.ndarray], list[tuple[str, float]]],
) -> Callable[[Sequence[np.ndarray]], Iterator[tuple[Any, ...]]]:
    """Return a function that reads canvases and flags readings that cannot be right."""

    def read(canvases: Sequence[np.ndarray]) -> Iterator[tuple[Any, ...]]:
        images = np.stack(canvases)
        found = zip(read_batch(images), count_lines(images), strict=True)
        for (text, confidence), lines in found:
            if len(text) > MAX_DIGITS:
                yield ("", 0.0), TOO_LONG
            elif lines > 1:
                yield (text, 0.0), SEVERAL_LINES
            else:
                yield (text, confidence), ""

    return read


def _batch_classifier(
    model: nn.Module, mixed_precision: bool, batch_size: int, top_k: int
) -> Callable[[Sequence[np.ndarray]], Iterator[tuple[Any, ...]]]:
    """Return a function that names the likeliest classes of images, uint8 [C, H, W].

    It yields for each image the pairs of class and probability, best first, and a note.
    """
    half = autocast_dtype(torch.device("cpu")) if mixed_precision else None
    names = cast("list[str]", model.class_names)

    def read(images: Sequence[np.ndarray]) -> Iterator[tuple[Any, ...]]:
        batch = torch.from_numpy(np.stack(images))
        with torch.inference_mode(), torch.autocast("cpu", half, enabled=half is not None):
            logits = torch.cat([model(part) for part in batch.split(batch_size)])
        best, labels = logits.float().softmax(dim=1).topk(min(top_k, len(names)), dim=1)
        for chosen, confidences in zip(labels.tolist(), best.tolist(), strict=True):
            yield *zip((names[label] for label in chosen), confidences, strict=True), ""

    return read


def _decoded(
    files: Sequence[ImageSource],
    to_input: Callable[[ImageSource], tuple[np.ndarray, bool]],
    unreadable: list[str] | None,
    first_only: list[str] | None,
) -> Iterator[tuple[str, np.ndarray]]:
    """The name and the input of each file that is an image.

    Args:
        to_input: returns an input, and whether the file has further images.
    """
    for number, source in enumerate(files):
        file = source if isinstance(source, (str, Path)) else f"image {number}"
        try:
            pixels, several = to_input(source)
        except UNREADABLE as error:
            if unreadable is not None:
                unreadable.append(f"{file}: {error}")
            continue
        if several and first_only is not None:
            first_only.append(str(file))
        yield str(file), pixels


def _canvas(source: ImageSource) -> tuple[np.ndarray, bool]:
    if isinstance(source, (str, Path)) and (canvas := decode_plain_png(source)) is not None:
        return canvas, False
    with _opened(source) as image:
        return to_canvas(image), holds_several(image)


def _pixels(source: ImageSource, shape: Sequence[int]) -> tuple[np.ndarray, bool]:
    with _opened(source) as image:
        return to_pixels(image, shape), holds_several(image)


@contextmanager
def _opened(source: ImageSource) -> Iterator[Image.Image]:
    """An image, from wherever it is; a file is closed at the end."""
    if isinstance(source, (str, Path)):
        with open_image(source) as image:
            yield image
    else:
        yield image_of(source)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part
