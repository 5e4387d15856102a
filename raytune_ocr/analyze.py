"""Write a report of runs: `python -m raytune_ocr.analyze RESULTS... --output DIR [--watch]`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from raytune_ocr.cli import add_imports, add_version, answer, at_least
from raytune_ocr.errors import RaytuneOCRError
from raytune_ocr.plugins import import_modules


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m raytune_ocr.analyze",
        description="Write report.html, the dashboard in one file without network access, and its "
        "tables; of several runs, print in what they differ.",
        epilog="example: python -m raytune_ocr.analyze training_output --output report --watch",
    )
    add_version(parser)
    parser.add_argument(
        "results",
        nargs="+",
        type=Path,
        help="results JSON files or output folders; several are compared side by side",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder to write to"
    )
    parser.add_argument(
        "--data",
        metavar="METADATA",
        help="images on which the report evaluates the best model (default: the config's data)",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="rewrite the report periodically while a run is in progress",
    )
    parser.add_argument(
        "--every",
        type=at_least(1),
        default=30,
        metavar="S",
        help="seconds between two reports with --watch (default 30)",
    )
    add_imports(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0: written, 2: wrong results or paths."""
    arguments = build_parser().parse_args(argv)
    return answer(lambda: _analyze(arguments))


def _analyze(arguments: argparse.Namespace) -> int:
    import_modules(arguments.imports)
    while True:
        try:
            _write(arguments)
        except RaytuneOCRError as error:
            if not arguments.watch:
                raise
            print(f"waiting: {error}", file=sys.stderr)
        if not arguments.watch:
            return 0
        time.sleep(arguments.every)


def _write(arguments: argparse.Namespace) -> None:
    """Write the report, and print its path and what differs between runs."""
    from raytune_ocr.dashboard.comparison import comparison
    from raytune_ocr.dashboard.snapshot import snapshots
    from raytune_ocr.report.report_page import write_report

    refresh = arguments.every if arguments.watch else 0
    print(write_report(arguments.results, arguments.output, arguments.data, refresh))
    if len(arguments.results) > 1:
        print(comparison(snapshots(arguments.results)))


if __name__ == "__main__":
    sys.exit(main())
