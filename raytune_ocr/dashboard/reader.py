"""Evaluate the best reader for the page: what it misreads, and whether its confidence holds."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from raytune_ocr.config.metrics import READER, task_name
from raytune_ocr.data.split_files import load_split
from raytune_ocr.errors import DataNotFoundError
from raytune_ocr.inference.calibration import Bin, cross_fitted, expected_error, fit, reliability
from raytune_ocr.inference.locate import find_checkpoint
from raytune_ocr.inference.model_card import confidences, precision_note
from raytune_ocr.inference.reading import read_images
from raytune_ocr.results.document import read_document
from raytune_ocr.training import load_reader
from raytune_ocr.training.evaluate import measure

WORST = 12


def reader_errors(source: Path, data: str | None = None) -> dict[str, Any]:
    """Return what the best reader misreads on its validation split, and its calibration.

    Args:
        data: images to read (default: the config's).

    Returns:
        `trial`, `split`, `images` and `wrong` (counts), `precision` (in words), `matrix` (row: the
        digit that was there, column: the digit that was read), `misread` (all wrong readings, those
        with the highest confidence first: `image` (its number), `there`, `read`, `confidence`; the
        first ones with a `picture`, a PNG), and `calibration`, from `calibration_of`.

    Raises:
        DataNotFoundError: the best trial is no reader.
    """
    path, document = read_document(source)
    config = (document.get("best_result") or {}).get("config") or {}
    if config and task_name(config) != READER:
        raise DataNotFoundError("Only readers of digits have a confusion matrix.")
    model, trained = load_reader(find_checkpoint(path))
    split = load_split(data or trained.metadata_path, trained.val_split)
    readings = zip(read_images(model, split.images), split.texts, strict=True)
    misread: list[dict[str, Any]] = [
        {"image": number, "there": there, "read": read, "confidence": float(confidence)}
        for number, ((read, confidence), there) in enumerate(readings)
        if read != there
    ]
    misread.sort(key=lambda each: -each["confidence"])
    for each in misread[:WORST]:
        each["picture"] = _png(split.images[each["image"]])
    return {
        "trial": trained.experiment_name,
        "split": trained.val_split,
        "images": len(split),
        "wrong": len(misread),
        "precision": precision_note(trained),
        "matrix": measure(model, split).get_confusion_matrix().tolist(),
        "misread": misread,
        "calibration": calibration_of(*confidences(model, split)),
    }


def calibration_of(sure: Sequence[float], right: Sequence[bool]) -> dict[str, Any]:
    """Return how often readings of about the same confidence are right.

    Args:
        sure: `predict`'s confidence for each image.
        right: whether the reading is right.

    Returns:
        `before` and `after` Platt scaling (two-fold cross-fit): rows of [confidence, share right,
        readings]; `error_before` and `error_after`, the expected calibration errors; `slope` and
        `offset` of the fit on all images.
    """
    before, after = reliability(sure, right), reliability(cross_fitted(sure, right), right)
    slope, offset = fit(sure, right)
    return {
        "before": _rows(before),
        "after": _rows(after),
        "error_before": expected_error(before),
        "error_after": expected_error(after),
        "slope": slope,
        "offset": offset,
    }


def _rows(bins: Sequence[Bin]) -> list[list[float]]:
    return [[each.confidence, each.right, each.readings] for each in bins]


def _png(image: Any) -> str:
    """Return a grey image uint8 [H, W] as a data URL."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
