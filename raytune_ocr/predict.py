"""Read images with a trained model: `python -m raytune_ocr.predict MODEL IMAGES...`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from raytune_ocr.cli import add_imports, add_version, answer, at_least


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
        help="for a classifier: write the K most likely classes of each image, in additional "
        "columns text_2, confidence_2 and so on (default 1)",
    )
    parser.add_argument(
        "--mixed-precision",
        action=argparse.BooleanOptionalAction,
        help="predict in bf16 if this machine accelerates it (up to twice as fast), or always in"
        " float32, which predicts the same on every machine; bf16 may differ on rare"
        " low-confidence images (default: as the checkpoint was trained; an export in float32)",
    )
    parser.add_argument(
        "--second-look",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="predict low-confidence images again at two other scales and keep the prediction with"
        " the highest combined confidence: about 20 %% fewer errors on poor images for about"
        " 10 %% more time on them (default: on)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0: all read, 1: some unreadable, 2: wrong model or paths."""
    arguments = build_parser().parse_args(argv)

    def command() -> int:
        from raytune_ocr.inference.predict_command import run

        return run(arguments)

    return answer(command, "stopped; nothing was written")


if __name__ == "__main__":
    sys.exit(main())
