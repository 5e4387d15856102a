"""Read images with a trained reader: `python -m raytune_ocr.predict MODEL IMAGES...`."""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from raytune_ocr.cli import answer, at_least
from raytune_ocr.errors import (
    CheckpointError,
    ConfigurationError,
    DataLoaderError,
    DataNotFoundError,
)
from raytune_ocr.files import replacing
from raytune_ocr.progress import progress

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
BATCHES_AT_ONCE = 8  # of which what is doubtful is looked at again together, in fuller batches
COLUMNS = ("file", "text", "confidence")


@dataclass(frozen=True)
class Reading:
    """What was read in one file; `confidence` from 0 to 1."""

    file: str
    text: str
    confidence: float


def find_checkpoint(source: str | Path) -> Path:
    """The checkpoint that a results JSON, an output folder or a checkpoint path stands for.

    Raises:
        CheckpointError: when there is none, or another run has taken the folder; says what was
            looked for.
    """
    path = Path(source)
    results = find_results(path)
    if results is not None:
        return _checkpoint_in_results(results)
    if not path.is_dir():
        return path
    for file in _models_in(path):
        if file.exists():
            return file
    raise CheckpointError(f"{path}: holds no checkpoints/best_model.pt, no export and no JSON")


def find_results(source: str | Path) -> Path | None:
    """The results JSON that a path is or holds; None where a model itself is meant."""
    path = Path(source)
    if not path.is_dir():
        return path if path.suffix == ".json" else None
    if any(file.exists() for file in _models_in(path)):
        return None
    files = sorted(path.glob("*.json"), key=lambda file: file.stat().st_mtime)
    return files[-1] if files else None


def _models_in(folder: Path) -> tuple[Path, ...]:
    """Where a trial's folder or an export keeps its model."""
    names = ("checkpoints/best_model.pt", "model.safetensors", "model.onnx")
    return tuple(folder / name for name in names)


def _checkpoint_in_results(path: Path) -> Path:
    from raytune_ocr.tune.whereabouts import taken

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        best = document.get("best_result") or {}
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such results file") from None
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a results JSON: {error}") from None
    named = best.get("checkpoint")
    if not named:
        raise CheckpointError(f"{path}: best_result names no checkpoint (did any trial complete?)")
    moved = Path(*Path(named).parts[-3:])  # with its trial's folder, beside results.json
    gone = ""
    for candidate in (Path(named), path.parent / named, path.parent / moved):
        told = taken(Path(*candidate.absolute().parts[:-3]), document)
        if candidate.is_file() and not told:
            return candidate
        gone = gone or told
    if gone:
        raise CheckpointError(f"{path}: {gone}")
    raise CheckpointError(
        f"{path}: best_result.checkpoint {named!r} does not exist; if the run was moved, name its "
        "output folder or the trial's folder instead"
    )


def find_images(sources: Iterable[str | Path]) -> list[Path]:
    """Files as they are named, and every image below a folder, sorted.

    Raises:
        DataNotFoundError: for a path that does not exist, or when there is no image at all.
        DataLoaderError: for a results file, as a second one that a wildcard stands for.
    """
    found: list[Path] = []
    for source in map(Path, sources):
        if source.suffix == ".json":
            raise DataLoaderError(
                f"{source}: must be an image or a folder of images, got a results file; name one "
                "model, for example the output folder of its run"
            )
        if source.is_dir():
            below = (path for path in source.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
            found.extend(sorted(below))
        elif source.exists():
            found.append(source)
        else:
            raise DataNotFoundError(f"{source}: no such image or folder")
    if not found:
        raise DataNotFoundError(f"{', '.join(map(str, sources))}: holds no image")
    return found


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

    from raytune_ocr.models import folded, read_carefully, read_once
    from raytune_ocr.training.optim import autocast_dtype
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


def _write_csv(stream: TextIO, readings: Iterable[Reading]) -> None:
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for reading in readings:
        # A name need not be UTF-8: the bytes that are not are written as `\xe9`.
        name = os.fsencode(reading.file).decode("utf-8", "backslashreplace")
        writer.writerow([name, reading.text, f"{reading.confidence:.4f}"])


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m raytune_ocr.predict",
        description="Read the digits in images with a trained model.",
        epilog="example: python -m raytune_ocr.predict training_output scans/",
    )
    parser.add_argument(
        "model",
        help="an output folder or a results JSON (its best model), a trial's folder, a"
        " best_model.pt, or an export (its folder, .safetensors or .onnx)",
    )
    parser.add_argument("images", nargs="+", help="image files, or folders that hold some")
    parser.add_argument(
        "--csv", metavar="OUT", help="write file,text,confidence there instead of printing them"
    )
    parser.add_argument(
        "--batch-size",
        type=at_least(1),
        default=64,
        metavar="N",
        help="images at a time (default 64)",
    )
    parser.add_argument(
        "--mixed-precision",
        action=argparse.BooleanOptionalAction,
        help="compute in bf16 where this machine is fast in it, up to twice as fast, or never:"
        " float32 reads alike everywhere, bf16 may differ in rare doubtful images (default: as"
        " the checkpoint was trained and validated; an export in float32)",
    )
    parser.add_argument(
        "--second-look",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="read what is doubtful again at two other sizes and keep what all three agree on"
        " most: a fifth fewer mistakes on poor images, for about a tenth of the time on those"
        " (default: do)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0: all read, 1: some unreadable, 2: wrong model or paths."""
    arguments = build_parser().parse_args(argv)
    return answer(lambda: _predict(arguments), "stopped; nothing was written")


def _predict(arguments: argparse.Namespace) -> int:
    files = find_images(arguments.images)
    checkpoint = find_checkpoint(arguments.model)
    unreadable: list[str] = []
    first_only: list[str] = []
    readings = _read_all(checkpoint, files, arguments, unreadable, first_only)
    if arguments.csv:
        with replacing(arguments.csv) as aside, aside.open("w", newline="", encoding="utf-8") as f:
            _write_csv(f, readings)
    else:
        _write_csv(sys.stdout, readings)
    for name in first_only:
        print(f"{name}: holds several pictures, of which the first was read", file=sys.stderr)
    for line in unreadable:
        print(f"skipped {line}", file=sys.stderr)
    print(f"{len(readings)} read, {len(unreadable)} skipped", file=sys.stderr)
    return 1 if unreadable else 0


def _read_all(
    checkpoint: Path,
    files: list[Path],
    arguments: argparse.Namespace,
    unreadable: list[str],
    first_only: list[str],
) -> list[Reading]:
    import torch

    from raytune_ocr.export import load_exported
    from raytune_ocr.training import load_reader
    from raytune_ocr.training.optim import autocast_dtype

    asked = arguments.mixed_precision
    if checkpoint.suffix == ".onnx" and asked:
        raise ConfigurationError(
            f"--mixed-precision: {checkpoint} computes in float32; name its checkpoint or its "
            "model.safetensors"
        )
    if asked and autocast_dtype(torch.device("cpu")) is None:
        print("--mixed-precision: not faster on this machine; read in float32", file=sys.stderr)
    if checkpoint.suffix in (".safetensors", ".onnx"):
        model, as_trained = load_exported(checkpoint), False
    else:
        model, config = load_reader(checkpoint)
        as_trained = config.mixed_precision
    readings = predict(
        model,
        files,
        batch_size=arguments.batch_size,
        unreadable=unreadable,
        mixed_precision=as_trained if asked is None else asked,
        first_only=first_only,
        second_look=arguments.second_look,
    )
    return list(progress(readings, len(files), "reading"))


if __name__ == "__main__":
    sys.exit(main())
