"""The console script `raytune-ocr`, and helpers that all commands share."""

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

from raytune_ocr.errors import RaytuneOCRError, unknown_name
from raytune_ocr.text import masked, printable
from raytune_ocr.version import __version__

COMMANDS = {
    "tune": ("raytune_ocr.tune.__main__", "train every preset and name the best"),
    "train": ("raytune_ocr.train", "train one model in an experiment folder"),
    "generate": ("raytune_ocr.generate", "make a synthetic set of images and labels"),
    "predict": ("raytune_ocr.predict", "read images with the best model"),
    "analyze": ("raytune_ocr.analyze", "make a report page with figures and tables of runs"),
    "steer": ("raytune_ocr.steer", "stop, pause, extend or add trials while a run trains"),
    "dashboard": ("raytune_ocr.dashboard.__main__", "show runs on a local page, and steer them"),
    "export": ("raytune_ocr.export", "export the best model: safetensors, ONNX, model card"),
}


def print_error(error: Exception) -> None:
    """Print an error to standard error, without terminal escapes and secrets."""
    for line in str(error).split("\n"):
        print(f"error: {printable(masked(line), sys.stderr.encoding)}", file=sys.stderr)


def open_streams(*, to_the_end: bool = False) -> None:
    """Set up standard output and error so that printing cannot fail.

    A stream that was closed at the start discards what is printed; characters outside a stream's
    encoding are escaped.

    Args:
        to_the_end: whether the command continues after the reader of its output has gone.
    """
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            _discard(number)
            opened = io.FileIO(number, "w", closefd=False)
            setattr(sys, name, io.TextIOWrapper(opened, "utf-8", write_through=True))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            if to_the_end and isinstance(stream.buffer, (io.BufferedWriter, io.FileIO)):
                setattr(sys, name, _lasting(stream))


def answer(command: Callable[[], int], stopped: str = "stopped") -> int:
    """Run a command; return its exit status, 2 after an error, or 130 after Ctrl-C.

    Args:
        stopped: the text to print after Ctrl-C.
    """
    open_streams()
    try:
        status = command()
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader closed the pipe, as `head` does
        _discard(1)
        return 1
    except (RaytuneOCRError, OSError) as error:
        print_error(error)
        return 2
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return 130


class _LastingOutput(io.RawIOBase):
    """A file descriptor that discards what is written after its reader has gone."""

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
        line_buffering=stream.line_buffering or stream.write_through,  # PYTHONUNBUFFERED
    )


def _discard(number: int) -> None:
    """Discard everything that is written to a file descriptor."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)


def again(command: str, words: Sequence[str]) -> str:
    """Return a command line, for pasting, that runs `command` again with other arguments.

    Secrets in it are masked.
    """
    python = Path(sys.executable)
    on_path = shutil.which(python.name) == str(python)
    shown = python.name if on_path else str(python)
    return shlex.join([shown, "-m", f"raytune_ocr.{command}", *map(masked, words)])


def add_imports(parser: argparse.ArgumentParser) -> None:
    """Add `--import MODULE`, for models that a user's module registers."""
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module that registers the model; may be repeated. Modules that only the "
        "model's own files name are not imported, since importing runs their code",
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
    """Return an argparse type for integers that are at least `low`."""

    def integer(text: str) -> int:
        if not text.isdecimal() or int(text) < low:
            raise argparse.ArgumentTypeError(f"must be an integer >= {low}, got {text!r}")
        return int(text)

    return integer


def main(argv: Sequence[str] | None = None) -> int:
    """Pass the rest of the command line to the sub-command's `main`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: raytune-ocr COMMAND ...\n")
        for name, (_, purpose) in COMMANDS.items():
            print(f"  {name:<10} {purpose}")
        print("\nraytune-ocr COMMAND --help shows the options of a command.")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"raytune-ocr {__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        print(f"error: {unknown_name('command', arguments[0], COMMANDS)}", file=sys.stderr)
        return 2
    return importlib.import_module(COMMANDS[arguments[0]][0]).main(arguments[1:])
