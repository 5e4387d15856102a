"""Export the best model: `python -m raytune_ocr.export RESULTS.json --output DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from raytune_ocr.cli import add_imports, add_version, answer
from raytune_ocr.plugins import import_modules


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m raytune_ocr.export",
        description="Write the best model as safetensors and ONNX, checked, with a model card.",
        epilog="example: python -m raytune_ocr.export training_output "
        "--output reader    (needs pip install 'raytune-ocr[export]')",
    )
    add_version(parser)
    parser.add_argument(
        "results", type=Path, help="an output folder, a results JSON, a trial's folder or a .pt"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder to write to"
    )
    parser.add_argument(
        "--data",
        metavar="METADATA",
        help="images on which the exported files are checked (default: the config's data)",
    )
    parser.add_argument(
        "--allow-outside",
        action="store_true",
        help="accept images outside the data folder and the working folder (default: refuse)",
    )
    add_imports(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0: exported and checked, 2: it could not be."""
    arguments = build_parser().parse_args(argv)

    def command() -> int:
        from raytune_ocr.inference.exporting import export
        from raytune_ocr.inference.formats import CARD

        import_modules(arguments.imports)
        export(
            arguments.results,
            arguments.output,
            arguments.data,
            allow_outside=arguments.allow_outside,
            imports=arguments.imports,
        )
        print(f"{arguments.output / CARD}: the model card")
        return 0

    return answer(command, f"stopped; {arguments.output} is incomplete: run the same command again")


if __name__ == "__main__":
    sys.exit(main())
