"""What a trial reserves of the machine: `resources: {cpus: 2, gpus: 0.5, memory: 3GiB}`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from raytune_ocr.config.rules import is_number, shown
from raytune_ocr.errors import unknown_name

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True)
class Resources:
    """What an experiment reserves for each of its trials; None: as the command line says.

    `DOCS` documents the fields.
    """

    cpus: float | None = None
    gpus: float | None = None
    memory: int | None = None


NO_RESOURCES = Resources()

MEMORY_PATTERN = r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*"
_MEMORY = "bytes, or text such as 3GiB or 500MB"

DOCS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "cpus": (
        "a number >= 0.01",
        "CPUs of a trial, also its threads",
        {"type": "number", "minimum": 0.01},
    ),
    "gpus": ("a number >= 0", "GPUs, may be a fraction", {"type": "number", "minimum": 0}),
    "memory": (
        _MEMORY,
        "memory that Ray reserves; Ray admits trials by it and does not limit them",
        {
            "anyOf": [
                {"type": "number", "minimum": 1},
                {"type": "string", "pattern": f"^{MEMORY_PATTERN}$"},
            ]
        },
    ),
}
"""The rule in words, the documentation and the JSON Schema of each field."""


def parse_resources(content: Any, place: str) -> tuple[Resources, list[str]]:
    """Return the resources of an experiment, and their problems."""
    if content is None:
        return Resources(), []
    names = list(Resources.__dataclass_fields__)
    if not isinstance(content, dict):
        return Resources(), [
            f"{place}: must be a mapping of {', '.join(names)}, got {shown(content)}"
        ]
    problems = [
        f"{place}.{key}: {unknown_name('resource', key, names)}"
        for key in content
        if key not in names
    ]
    cpus, gpus, memory = (content.get(name) for name in names)
    size = None if memory is None else parse_bytes(memory)
    broken = {
        "cpus": cpus is not None and not _number_at_least(cpus, 0.01),
        "gpus": gpus is not None and not _number_at_least(gpus, 0),
        "memory": memory is not None and size is None,
    }
    problems += [
        f"{place}.{name}: must be {DOCS[name][0]}, got {shown(content[name])}"
        for name, wrong in broken.items()
        if wrong
    ]
    return (Resources(), problems) if problems else (Resources(cpus, gpus, size), [])


def parse_bytes(value: Any) -> int | None:
    """Return the bytes of a number or of text with a unit; None if it is neither.

    >>> parse_bytes("1.5GiB")
    1610612736
    """
    if _number_at_least(value, 1):
        return int(value)
    match = re.fullmatch(MEMORY_PATTERN, value if isinstance(value, str) else "")
    if match is None or match[2].upper() not in UNITS:
        return None
    size = float(match[1]) * UNITS[match[2].upper()]
    return int(size) if 1 <= size < math.inf else None


def _number_at_least(value: Any, low: float) -> bool:
    return is_number(value) and low <= value < math.inf
