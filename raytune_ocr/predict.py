"""Read images with a trained reader: `python -m raytune_ocr.predict MODEL IMAGES...`."""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from raytune_ocr.cli import add_imports, add_version, answer, at_least
from raytune_ocr.errors import (
    ConfigurationError,
)
from raytune_ocr.files import replacing
from raytune_ocr.inference.locate import find_checkpoint, find_images
from raytune_ocr.inference.reading import Reading, predict
from raytune_ocr.plugins import import_modules
from raytune_ocr.progress import progress

if TYPE_CHECKING:
    pass

COLUMNS = ("file", "text", "confidence")


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
    add_version(parser)
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
    add_imports(parser)
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

    from raytune_ocr.inference.formats import load_exported
    from raytune_ocr.training import load_reader
    from raytune_ocr.training.device import autocast_dtype

    import_modules(arguments.imports)
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
