"""Show runs on a local page: `python -m raytune_ocr.dashboard RUN...`."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from raytune_ocr.cli import add_version, answer, at_least

LOOPBACK = "127.0.0.1"
PORT = 8267
PARENT_SECONDS = 0.5  # between two looks at whether the parent process is still there


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m raytune_ocr.dashboard",
        description="Show runs on a local page while they train and afterwards: trials, curves, "
        "settings, cost. The page can stop, pause, extend and add trials of a run in progress.",
        epilog="example: python -m raytune_ocr.dashboard training_output",
    )
    add_version(parser)
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="output folders or results JSON files"
    )
    parser.add_argument(
        "--port",
        type=at_least(0),
        default=PORT,
        metavar="N",
        help=f"port of the page; 0, or a port in use: a free one (default {PORT})",
    )
    parser.add_argument(
        "--host",
        default=LOOPBACK,
        metavar="ADDRESS",
        help="address to serve on. Everyone who reaches it and knows the token can read the runs "
        f"and steer them; nothing is encrypted (default {LOOPBACK}: this machine only)",
    )
    parser.add_argument(
        "--wait", action="store_true", help="accept folders in which a run has not begun yet"
    )
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)  # ends with that process
    parser.add_argument(
        "--read-only", action="store_true", help="show the runs, and refuse every order"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0: ended by Ctrl-C, 2: wrong runs or address."""
    arguments = build_parser().parse_args(argv)
    return answer(lambda: _serve(arguments))


def _serve(arguments: argparse.Namespace) -> int:
    from raytune_ocr.dashboard.serving import Serving
    from raytune_ocr.dashboard.snapshot import snapshots

    serving = Serving(
        snapshots(arguments.runs, arguments.wait),
        arguments.host,
        arguments.port,
        arguments.read_only,
    )
    with serving:
        print(f"dashboard: {serving.url} (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while arguments.parent in (None, os.getppid()):
                time.sleep(PARENT_SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
