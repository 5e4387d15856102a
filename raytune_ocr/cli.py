"""The console script `raytune-ocr`: the command lines of the package behind one name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "tune": ("raytune_ocr.tune.__main__", "train every preset, say which one won"),
    "train": ("raytune_ocr.train", "train one model in an experiment folder"),
    "generate": ("raytune_ocr.generate", "make a synthetic set of images and labels"),
    "predict": ("raytune_ocr.predict", "read images with the winner"),
    "analyze": ("raytune_ocr.analyze", "one page of figures and tables about runs"),
    "export": ("raytune_ocr.export", "make the winner ready to ship"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the rest of the command line to the sub-command's own `main`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: raytune-ocr COMMAND ...\n")
        for name, (_, purpose) in COMMANDS.items():
            print(f"  {name:<10} {purpose}")
        print("\nraytune-ocr COMMAND --help tells more.")
        return 0 if arguments else 2
    if arguments[0] not in COMMANDS:
        from raytune_ocr.errors import unknown_name

        print(f"error: {unknown_name('command', arguments[0], COMMANDS)}", file=sys.stderr)
        return 2
    return importlib.import_module(COMMANDS[arguments[0]][0]).main(arguments[1:])
