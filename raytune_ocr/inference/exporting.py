"""Export a model, and check each format against PyTorch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import create_dataset
from raytune_ocr.data.split_files import dataset_info, load_split, split_sizes
from raytune_ocr.errors import CheckpointError, DataLoaderError
from raytune_ocr.files import replacing
from raytune_ocr.inference.calibration import fit
from raytune_ocr.inference.formats import (
    CARD,
    CONFIG,
    ONNX,
    WEIGHTS,
    last_part,
    load_exported,
    needed,
    without_own_paths,
    write_onnx,
    write_safetensors,
)
from raytune_ocr.inference.locate import find_checkpoint, find_results
from raytune_ocr.inference.model_card import Data, classifier_card, model_card, validate
from raytune_ocr.inference.own_task import export_own, find_own
from raytune_ocr.training.model_config import load_model, whole, with_model_facts

if TYPE_CHECKING:
    from torch import nn

TOLERANCE = 1e-3  # of a logit: far below what changes a reading


CHECKED = 256  # images that both models read


def logits_of(model: nn.Module, images: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Logits of images uint8 [N, C, H, W]."""
    with torch.inference_mode():
        parts = [
            model(torch.from_numpy(images[at : at + batch_size])).float().numpy()
            for at in range(0, len(images), batch_size)
        ]
    return np.concatenate(parts)


def milliseconds(model: nn.Module, images: np.ndarray, repeats: int = 10) -> float:
    """Median time for all `images` as one batch."""
    logits_of(model, images, len(images))
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        logits_of(model, images, len(images))
        times.append(time.perf_counter() - started)
    return sorted(times)[repeats // 2] * 1000


def export(
    results: Path,
    output: Path,
    data: str | None = None,
    say: Callable[[str], None] = print,
    allow_outside: bool = False,
    imports: Sequence[str] = (),
) -> dict[str, Any]:
    """Write weights, config, ONNX and a model card, and check that they compute alike.

    Args:
        results: a results JSON (its best model), a trial's folder or a checkpoint.
        data: metadata of real images (default: what the config names).
        allow_outside: accept image paths outside the data folder and the working folder.
        imports: modules to import first, for the models and datasets that they register.

    Returns:
        `largest_difference` of a logit, `images_checked`, sizes in bytes and times in ms; of a
        user's own task what `export_own` returns.

    Raises:
        CheckpointError: also if the ONNX model differs from PyTorch's.
        ConfigurationError: the extra is not installed.
        DataLoaderError: there are no images for the check.
    """
    for module in ("safetensors", "onnx", "onnxscript", "onnxruntime"):
        needed(module)
    checkpoint = find_checkpoint(results)
    if own := find_own(checkpoint, imports):
        return export_own(own, output, say)
    model, config = load_model(checkpoint, imports)
    config = replace(config, metadata_path=data or config.metadata_path)
    try:
        images, describe = _validation_images(model, config, allow_outside)
    except DataLoaderError as error:
        raise DataLoaderError(
            f"{error}; the check of the export needs real images: pass --data METADATA"
        ) from None
    output.mkdir(parents=True, exist_ok=True)
    write_safetensors(output / WEIGHTS, model)
    without_own_paths(whole(config, model)).save_yaml(output / CONFIG)
    write_onnx(output / ONNX, model)
    report = _check(model, output, images[:CHECKED], say)
    with replacing(output / CARD) as aside:
        aside.write_text(describe(report, _document(results)), encoding="utf-8")
    return report


def _validation_images(
    model: nn.Module, config: TrainingConfig, allow_outside: bool
) -> tuple[np.ndarray, Callable[[Mapping[str, Any], Mapping[str, Any]], str]]:
    """The validation images, uint8 [N, C, H, W], and what makes the card of a checked export."""
    path = config.metadata_path
    if hasattr(model, "class_names"):
        dataset = create_dataset(config, allow_outside=allow_outside)
        with_model_facts(config, dataset.model_facts())  # or these are no images of its classes
        train, val = dataset.arrays
        sizes = {config.train_split: len(train.labels), config.val_split: len(val.labels)}
        confidences, right = judged(logits_of(model, val.images), val.labels)
        model.calibration = fit(confidences, right)  # type: ignore[assignment]
        facts = Data(last_part(path), sizes, {})
        return val.images, lambda files, _: classifier_card(config, facts, sum(right), files)
    split = load_split(path, config.val_split, allow_outside=allow_outside)
    facts = Data(last_part(path), split_sizes(path, allow_outside), dataset_info(path))
    images = split.images[:, None]
    steps = logits_of(model, images[:1]).shape[1]
    figures = validate(model, split)
    model.calibration = figures.calibration  # type: ignore[assignment]
    kind = getattr(model, "kind", "attention")
    return images, lambda files, document: model_card(
        config, facts, figures, files, document, kind, steps
    )


def judged(logits: np.ndarray, labels: np.ndarray) -> tuple[list[float], list[bool]]:
    """The probability of the likeliest class of each image, and whether it is the right one."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    return shares.max(axis=1).tolist(), (logits.argmax(axis=1) == labels).tolist()


def _check(
    model: nn.Module, output: Path, images: np.ndarray, say: Callable[[str], None]
) -> dict[str, Any]:
    wanted = logits_of(model, images)
    report: dict[str, Any] = {"images_checked": len(images)}
    for name in (WEIGHTS, ONNX):
        loaded = load_exported(output / name)  # what was imported for the model still is
        # An odd last batch, too: the batch is dynamic.
        difference = float(np.abs(logits_of(loaded, images, 37) - wanted).max())
        if not difference <= TOLERANCE:
            raise CheckpointError(
                f"{output / name}: logits must be within {TOLERANCE} of PyTorch's,"
                f" the largest difference is {difference:.3g}"
            )
        size = (output / name).stat().st_size
        one, many = milliseconds(loaded, images[:1]), milliseconds(loaded, images[:64])
        rate = len(images[:64]) / many * 1000
        report[name] = {
            "bytes": size,
            "largest_difference": difference,
            "ms_one_image": one,
            "images_per_second": rate,
        }
        say(
            f"{output / name}: {size / 1e6:.2f} MB, {one:.1f} ms an image alone, {rate:.0f} images"
            f" a second by 64; largest difference {difference:.2g} over {len(images)} images"
        )
    report["largest_difference"] = report[ONNX]["largest_difference"]
    return report


def _document(results: Path) -> dict[str, Any]:
    """The results JSON, if that is what the model came from."""
    path = find_results(results)
    return json.loads(path.read_text(encoding="utf-8")) if path else {}
