"""Read images with a trained model: `python -m raytune_ocr.predict MODEL IMAGES...`."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from raytune_ocr.cli import add_imports, add_version, answer, at_least
from raytune_ocr.data.folders import PassedOver
from raytune_ocr.errors import ConfigurationError, DataNotFoundError
from raytune_ocr.files import replacing
from raytune_ocr.inference.locate import find_checkpoint, find_images
from raytune_ocr.inference.reading import Reading, predict
from raytune_ocr.progress import progress
from raytune_ocr.text import printable, spreadsheet_cell

if TYPE_CHECKING:
    from raytune_ocr.inference.own_task import OwnModel

COLUMNS = ("text", "confidence")


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


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m raytune_ocr.predict",
        description="Read the digits in images with a trained model, or name the class of each, or "
        "give files to the predict function of one's own task. "
        "Confidence is 0 where an image shows what the model cannot read: too many digits or "
        "several lines.",
        epilog="example: python -m raytune_ocr.predict training_output scans/",
    )
    add_version(parser)
    parser.add_argument(
        "model",
        help="an output folder or a results JSON (its best model), a trial's folder, a"
        " best_model.pt, or an export (its folder, .safetensors or .onnx)",
    )
    parser.add_argument("images", nargs="+", help="image files, or folders of images")
    parser.add_argument(
        "--csv", metavar="OUT", help="write file,text,confidence to OUT instead of printing them"
    )
    add_imports(parser)
    parser.add_argument(
        "--batch-size",
        type=at_least(1),
        default=64,
        metavar="N",
        help="batch size, in images (default 64)",
    )
    parser.add_argument(
        "--top-k",
        type=at_least(1),
        default=1,
        metavar="K",
        help="of a classifier, name the K likeliest classes of each image, in further columns "
        "text_2, confidence_2 and so on (default 1)",
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
        help="read doubtful images again at two other sizes and keep the reading that all three"
        " support most: about 20 %% fewer errors on poor images for about 10 %% more time on them"
        " (default: on)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0: all read, 1: some unreadable, 2: wrong model or paths."""
    arguments = build_parser().parse_args(argv)
    return answer(lambda: _predict(arguments), "stopped; nothing was written")


def _predict(arguments: argparse.Namespace) -> int:
    checkpoint = find_checkpoint(arguments.model)
    if own := _own_model(checkpoint, arguments.imports):
        return _predict_own(own, arguments)
    passed_over = PassedOver()
    files = find_images(arguments.images, passed_over)
    unreadable: list[str] = []
    first_only: list[str] = []
    readings = _read_all(checkpoint, files, arguments, unreadable, first_only)
    _tell(readings, arguments)
    for name in first_only:
        _say(f"{name}: contains several images; only the first was read")
    for reading in readings:
        if reading.note:
            _say(f"{reading.file}: confidence 0: {reading.note}")
    for line in unreadable:
        _say(f"skipped {line}")
    for line in passed_over.lines():
        _say(line)
    skipped = len(unreadable) + passed_over.pictures
    _say(f"{len(readings)} read, {skipped} skipped")
    return 1 if skipped else 0


def _tell(readings: Iterable[Reading], arguments: argparse.Namespace) -> None:
    """Print the table, or write it to the file of `--csv`."""
    if not arguments.csv:
        _print_csv(readings, arguments.top_k)
        return
    with (
        replacing(arguments.csv, follow_links=True) as aside,
        aside.open("w", newline="", encoding="utf-8") as file,
    ):
        _write_csv(file, readings, arguments.top_k)


def _own_model(checkpoint: Path, imports: Sequence[str]) -> OwnModel | None:
    from raytune_ocr.inference.own_task import find_own

    return find_own(checkpoint, imports)


def _predict_own(model: OwnModel, arguments: argparse.Namespace) -> int:
    """Predict files by a user's own task, whatever they are."""
    files = [Path(name) for name in arguments.images]
    if missing := [str(file) for file in files if not file.is_file()]:
        raise DataNotFoundError(f"{', '.join(missing)}: must be a file")
    readings = list(model.predict(files))
    _tell(readings, arguments)
    _say(f"{len(readings)} read, 0 skipped")
    return 0


def _say(line: str) -> None:
    print(printable(line, sys.stderr.encoding), file=sys.stderr)


def _read_all(
    checkpoint: Path,
    files: list[Path],
    arguments: argparse.Namespace,
    unreadable: list[str],
    first_only: list[str],
) -> list[Reading]:
    import torch

    from raytune_ocr.inference.model import EXPORTED, load
    from raytune_ocr.training.device import autocast_dtype

    asked = arguments.mixed_precision
    if checkpoint.suffix == ".onnx" and asked:
        raise ConfigurationError(
            f"--mixed-precision: {checkpoint} computes in float32; give its checkpoint or its "
            "model.safetensors"
        )
    if asked and autocast_dtype(torch.device("cpu")) is None:
        _say("--mixed-precision: not faster on this machine; reading in float32")
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


if __name__ == "__main__":
    sys.exit(main())
