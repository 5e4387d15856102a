"""The command line `--reproduce`."""

from __future__ import annotations

from typing import Any

from raytune_ocr.tune.selection.reproduce import Say, reproduce


def main(arguments: Any) -> int:
    """The command line's `--reproduce`; 0: identical, 1: not."""
    say: Say = (lambda line: None) if arguments.quiet else print
    same = reproduce(
        arguments.reproduce,
        arguments.trial,
        data=arguments.data,
        allow_outside=arguments.allow_outside,
        imports=arguments.imports,
        say=say,
    )
    return 0 if same else 1
