"""What a trial may take of the machine: `resources: {cpus: 2, gpus: 0.5, memory: 3GiB}`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from raytune_ocr.errors import unknown_name

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True)
class Resources:
    """What an experiment asks for each of its trials; None: as the command line says.

    Attributes:
        cpus: also the threads of a trial (at least one).
        gpus: may be a fraction.
        memory: bytes that Ray sets aside; it admits trials by them, it does not limit them.
    """

    cpus: float | None = None
    gpus: float | None = None
    memory: int | None = None


NO_RESOURCES = Resources()


def parse_resources(content: Any, place: str) -> tuple[Resources, list[str]]:
    """The resources of an experiment, and what is wrong with them."""
    if content is None:
        return Resources(), []
    names = list(Resources.__dataclass_fields__)
    if not isinstance(content, dict):
        return Resources(), [f"{place}: must be a mapping of {', '.join(names)}, got {content!r}"]
    problems = [
        f"{place}.{key}: {unknown_name('resource', key, names)}"
        for key in content
        if key not in names
    ]
    cpus, gpus, memory = (content.get(name) for name in names)
    if cpus is not None and not _number_at_least(cpus, 0.01):
        problems.append(f"{place}.cpus: must be a number >= 0.01, got {cpus!r}")
    if gpus is not None and not _number_at_least(gpus, 0):
        problems.append(f"{place}.gpus: must be a number >= 0, got {gpus!r}")
    size = None if memory is None else parse_bytes(memory)
    if memory is not None and size is None:
        rule = "must be bytes, or text such as 3GiB or 500MB"
        problems.append(f"{place}.memory: {rule}, got {memory!r}")
    return (Resources(), problems) if problems else (Resources(cpus, gpus, size), [])


def parse_bytes(value: Any) -> int | None:
    """Bytes of a number or of text with a unit; None where it is neither.

    >>> parse_bytes("1.5GiB")
    1610612736
    """
    if _number_at_least(value, 1):
        return int(value)
    match = re.fullmatch(
        r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", value if isinstance(value, str) else ""
    )
    if match is None or match[2].upper() not in UNITS:
        return None
    return int(float(match[1]) * UNITS[match[2].upper()]) or None


def _number_at_least(value: Any, low: float) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and low <= value < math.inf
