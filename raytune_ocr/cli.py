"""What the command lines share, and the console script `raytune-ocr`: all behind one name."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from raytune_ocr.errors import RaytuneOCRError
from raytune_ocr.text import masked, printable
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
    """Print an error as lines on standard error, without what a terminal would obey."""
    for line in str(error).split("\n"):
        print(f"error: {printable(masked(line), sys.stderr.encoding)}", file=sys.stderr)


def open_streams(*, to_the_end: bool = False) -> None:
    """Make standard output and error such that printing cannot fail.

    A stream that was closed at the start swallows what is printed, and characters that a stream's
    encoding does not have are escaped.

    Args:
        to_the_end: whether the command goes on when the reader of its output goes away.
    """
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            _discard(number)
            opened = io.FileIO(number, "w", closefd=False)
            setattr(sys, name, io.TextIOWrapper(opened, "utf-8", write_through=True))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            if to_the_end and isinstance(stream.buffer, io.BufferedWriter):
                setattr(sys, name, _lasting(stream))


def answer(command: Callable[[], int], stopped: str = "stopped") -> int:
    """Run a command; its exit status, 2 after an error, or 130 after Ctrl-C.

    Args:
        stopped: what is printed after Ctrl-C.
    """
    open_streams()
    try:
        status = command()
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of the output has enough of it, as `head` has
        _discard(1)
        return 1
    except (RaytuneOCRError, OSError) as error:
        tell(error)
        return 2
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return 130


class _LastingOutput(io.RawIOBase):
    """A descriptor that swallows what is written after its reader has gone."""

    def __init__(self, number: int) -> None:
        self.number = number

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(self.number)

    def fileno(self) -> int:
        return self.number

    def write(self, data: object) -> int:
        content = memoryview(data).cast("B")  # type: ignore[arg-type]
        try:
            return os.write(self.number, content)
        except BrokenPipeError:
            _discard(self.number)
            return len(content)


def _lasting(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_LastingOutput(stream.fileno())),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
    )


def _discard(number: int) -> None:
    """Let what is written to a descriptor go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)


def again(command: str, words: Sequence[str]) -> str:
    """The command line that runs `command` once more, with other words, to be pasted.

    Secrets in it are masked, since it is printed.
    """
    python = Path(sys.executable)
    on_path = shutil.which(python.name) == str(python)
    shown = python.name if on_path else str(python)
    return shlex.join([shown, "-m", f"raytune_ocr.{command}", *map(masked, words)])


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
