"""Make a synthetic set: `python -m raytune_ocr.generate --output-dir DIR --num-samples N`."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence

from raytune_ocr.cli import add_version, answer, at_least
from raytune_ocr.progress import progress


def _lengths(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    try:
        lengths = int(low), int(high or low)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a range such as 1-8 or a number such as 4, got {text!r}"
        ) from None
    if not 1 <= lengths[0] <= lengths[1] <= 8:
        raise argparse.ArgumentTypeError(f"must be within 1-8, got {text!r}")
    return lengths


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m raytune_ocr.generate",
        description="Make images of Khmer digit strings with labels: PNGs, a table for each of "
        "train, val and test (80/10/10), and metadata.yaml. The same seed and fonts give the "
        "same bytes.",
        epilog="example: python -m raytune_ocr.generate --output-dir digits --num-samples 10000",
    )
    add_version(parser)
    parser.add_argument("--output-dir", required=True, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--num-samples",
        type=at_least(3),
        default=10000,
        metavar="N",
        help="total number of images (default 10000)",
    )
    parser.add_argument(
        "--seed", type=at_least(0), default=2024, metavar="N", help="random seed (default 2024)"
    )
    parser.add_argument(
        "--lengths",
        type=_lengths,
        default=(1, 8),
        metavar="LOW-HIGH",
        help="digits per string: a range such as 1-8 or a number (default 1-8)",
    )
    parser.add_argument(
        "--fonts-dir",
        action="append",
        default=[],
        metavar="DIR",
        help="folder of additional fonts (.ttf, .otf); may be repeated",
    )
    parser.add_argument(
        "--no-system-fonts",
        action="store_true",
        help="use no system fonts, only the bundled ones and --fonts-dir: the output is then "
        "byte-identical on every machine",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0: written, 2: wrong arguments or fonts."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    folder = arguments.output_dir
    return answer(
        lambda: _generate(arguments),
        f"stopped; {folder} is incomplete (no metadata.yaml): run the same command again",
    )


def _generate(arguments: argparse.Namespace) -> int:
    from raytune_ocr.data.synthesis.generator import generate_dataset

    started = time.perf_counter()
    metadata = generate_dataset(
        arguments.output_dir,
        arguments.num_samples,
        arguments.seed,
        arguments.fonts_dir,
        arguments.lengths,
        system_fonts=not arguments.no_system_fonts,
        progress=lambda images, total: progress(images, total, "images"),
    )
    seconds = time.perf_counter() - started
    print(f"{arguments.num_samples} images in {seconds:.1f} s: {metadata}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
