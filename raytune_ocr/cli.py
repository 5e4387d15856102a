"""What the command lines share, and the console script `raytune-ocr`: all behind one name."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from raytune_ocr.errors import RaytuneOCRError
from raytune_ocr.version import __version__

COMMANDS = {
    "tune": ("raytune_ocr.tune.__main__", "train every preset, say which one won"),
    "train": ("raytune_ocr.train", "train one model in an experiment folder"),
    "generate": ("raytune_ocr.generate", "make a synthetic set of images and labels"),
    "predict": ("raytune_ocr.predict", "read images with the winner"),
    "analyze": ("raytune_ocr.analyze", "one page of figures and tables about runs"),
    "export": ("raytune_ocr.export", "make the winner ready to ship"),
}


def tell(error: Exception) -> None:
    """An error as lines on standard error."""
    for line in str(error).splitlines():
        print(f"error: {line}", file=sys.stderr)


def answer(command: Callable[[], int], stopped: str = "stopped") -> int:
    """The exit status of a command: its own; 2 and a word after an error, 130 after Ctrl-C.

    Args:
        stopped: what is said after Ctrl-C.
    """
    try:
        status = command()
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read the output has enough of it, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (RaytuneOCRError, OSError) as error:
        tell(error)
        return 2
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return 130


def again(command: str, words: Sequence[str]) -> str:
    """The command line that runs `command` once more, with other words, to be pasted."""
    python = Path(sys.executable)
    on_path = shutil.which(python.name) == str(python)
    shown = python.name if on_path else str(python)
    return shlex.join([shown, "-m", f"raytune_ocr.{command}", *words])


def add_imports(parser: argparse.ArgumentParser) -> None:
    """Add `--import MODULE`, for models that a module of the user's registers."""
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module that registers the model; may be given several times. A module that "
        "only a file names is not imported",
    )


def add_version(parser: argparse.ArgumentParser) -> None:
    """Add `--version`."""
    parser.add_argument(
        "--version",
        action="version",
        version=f"raytune-ocr {__version__}",
        help="print the version of raytune-ocr and exit",
    )


def at_least(low: int) -> Callable[[str], int]:
    """How a command line reads a whole number that is no smaller than `low`."""

    def integer(text: str) -> int:
        if not text.isdecimal() or int(text) < low:
            raise argparse.ArgumentTypeError(f"must be an integer >= {low}, got {text!r}")
        return int(text)

    return integer


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the rest of the command line to the sub-command's own `main`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: raytune-ocr COMMAND ...\n")
        for name, (_, purpose) in COMMANDS.items():
            print(f"  {name:<10} {purpose}")
        print("\nraytune-ocr COMMAND --help tells more.")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"raytune-ocr {__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        from raytune_ocr.errors import unknown_name

        print(f"error: {unknown_name('command', arguments[0], COMMANDS)}", file=sys.stderr)
        return 2
    return importlib.import_module(COMMANDS[arguments[0]][0]).main(arguments[1:])
