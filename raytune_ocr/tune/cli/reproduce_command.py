"""Run `--reproduce`."""

from __future__ import annotations

from typing import Any

from raytune_ocr.tune.selection.reproduce import Say, reproduce


def _module_of(trainable: str | None) -> list[str]:
    """The module of `module:function`, which the caller trusts by naming it."""
    return [trainable.partition(":")[0]] if trainable else []


def main(arguments: Any) -> int:
    """Run `--reproduce`; return 0 if identical, else 1."""
    say: Say = (lambda line: None) if arguments.quiet else print
    same = reproduce(
        arguments.reproduce,
        arguments.trial,
        data=arguments.data,
        allow_outside=arguments.allow_outside,
        imports=[*arguments.imports, *_module_of(arguments.trainable)],
        say=say,
    )
    return 0 if same else 1
