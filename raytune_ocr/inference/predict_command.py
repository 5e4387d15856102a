"""What `python -m raytune_ocr.predict` does: read files, print or write the table of readings."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

import torch

from raytune_ocr.data.folders import PassedOver
from raytune_ocr.errors import ConfigurationError, DataNotFoundError
from raytune_ocr.files import replacing
from raytune_ocr.inference.locate import find_checkpoint, find_images
from raytune_ocr.inference.model import EXPORTED, load
from raytune_ocr.inference.own_task import OwnModel, find_own
from raytune_ocr.inference.reading import Reading, predict
from raytune_ocr.progress import progress
from raytune_ocr.text import printable, spreadsheet_cell
from raytune_ocr.training.device import autocast_dtype

COLUMNS = ("text", "confidence")


def run(arguments: argparse.Namespace) -> int:
    """Read the images of a command line; return 0: all were read, 1: some could not be."""
    checkpoint = find_checkpoint(arguments.model)
    if own := find_own(checkpoint, arguments.imports):
        return _predict_own(own, arguments)
    passed_over = PassedOver()
    files = find_images(arguments.images, passed_over)
    unreadable: list[str] = []
    first_only: list[str] = []
    readings = _read_all(checkpoint, files, arguments, unreadable, first_only)
    _write(readings, arguments)
    for name in first_only:
        _log(f"{name}: contains several images; only the first was read")
    for reading in readings:
        if reading.note:
            _log(f"{reading.file}: confidence 0: {reading.note}")
    for line in unreadable:
        _log(f"skipped {line}")
    for line in passed_over.lines():
        _log(line)
    skipped = len(unreadable) + passed_over.pictures
    _log(f"{len(readings)} read, {skipped} skipped")
    return 1 if skipped else 0


def _write(readings: Iterable[Reading], arguments: argparse.Namespace) -> None:
    """Print the table, or write it to the file of `--csv`."""
    if not arguments.csv:
        _print_csv(readings, arguments.top_k)
        return
    with (
        replacing(arguments.csv, follow_links=True) as aside,
        aside.open("w", newline="", encoding="utf-8") as file,
    ):
        _write_csv(file, readings, arguments.top_k)


def _predict_own(model: OwnModel, arguments: argparse.Namespace) -> int:
    """Predict files by a user's own task, whatever they are."""
    files = [Path(name) for name in arguments.images]
    if missing := [str(file) for file in files if not file.is_file()]:
        raise DataNotFoundError(f"{', '.join(missing)}: must be an existing file")
    readings = list(model.predict(files))
    _write(readings, arguments)
    _log(f"{len(readings)} read, 0 skipped")
    return 0


def _log(line: str) -> None:
    print(printable(line, sys.stderr.encoding), file=sys.stderr)


def _read_all(
    checkpoint: Path,
    files: list[Path],
    arguments: argparse.Namespace,
    unreadable: list[str],
    first_only: list[str],
) -> list[Reading]:
    asked = arguments.mixed_precision
    if checkpoint.suffix == ".onnx" and asked:
        raise ConfigurationError(
            f"--mixed-precision: must not be given for an ONNX file, which computes in float32, "
            f"got {checkpoint}; name the trial's checkpoint or the export's model.safetensors"
        )
    if asked and autocast_dtype(torch.device("cpu")) is None:
        _log("--mixed-precision: not faster on this machine; reading in float32")
    model = load(checkpoint, arguments.imports)
    as_trained = model.config is not None and model.config.mixed_precision
    if checkpoint.suffix in EXPORTED:
        as_trained = False
    readings = predict(
        model.network,
        files,
        batch_size=arguments.batch_size,
        unreadable=unreadable,
        mixed_precision=as_trained if asked is None else asked,
        first_only=first_only,
        second_look=arguments.second_look,
        top_k=arguments.top_k,
    )
    return list(progress(readings, len(files), "reading"))


def _write_csv(stream: TextIO, readings: Iterable[Reading], top_k: int = 1) -> None:
    """Write a table; formulas are quoted, unprintable characters are escaped."""
    writer = csv.writer(stream)
    more = [f"{name}_{number}" for number in range(2, top_k + 1) for name in COLUMNS]
    writer.writerow(["file", *COLUMNS, *more])
    for reading in readings:
        row = [spreadsheet_cell(printable(reading.file))]
        for text, confidence in [(reading.text, reading.confidence), *reading.others]:
            row += [spreadsheet_cell(printable(text)), f"{confidence:.4f}"]
        writer.writerow([printable(cell, stream.encoding) for cell in row])


def _print_csv(readings: Iterable[Reading], top_k: int) -> None:
    """Write a table to standard output: UTF-8, unless a terminal has another encoding."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")
    _write_csv(sys.stdout, readings, top_k)
