"""Prices of the machines that trials train on: `prices: {gpu_hour: 1.10, cpu_hour: 0.04}`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from raytune_ocr.config.rules import is_number, shown
from raytune_ocr.errors import unknown_name


@dataclass(frozen=True)
class Prices:
    """What an hour of one GPU and of one CPU costs; `DOCS` documents the fields."""

    gpu_hour: float = 0.0
    cpu_hour: float = 0.0
    currency: str = ""

    def of(self, cpu_hours: Any, gpu_hours: Any) -> Any:
        """Return the money that hours cost: numbers, or columns of them."""
        return cpu_hours * self.cpu_hour + gpu_hours * self.gpu_hour

    def shown(self, money: float) -> str:
        """Return an amount with its currency; without one, as "money 1.5"."""
        return f"{money:.4g} {self.currency}" if self.currency else f"money {money:.4g}"


_PRICE = {"type": "number", "minimum": 0}
DOCS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpu_hour": ("a number >= 0", "price of a GPU for an hour (default 0)", _PRICE),
    "cpu_hour": ("a number >= 0", "price of a CPU for an hour (default 0)", _PRICE),
    "currency": ("text", "shown behind amounts, e.g. EUR (default: nothing)", {"type": "string"}),
}
"""The rule in words, the documentation and the JSON Schema of each field."""


def parse_prices(content: Any, place: str) -> tuple[Prices | None, list[str]]:
    """Return the prices of a file, None where it has none, and their problems."""
    if content is None:
        return None, []
    if not isinstance(content, dict):
        return None, [f"{place}: must be a mapping of {', '.join(DOCS)}, got {shown(content)}"]
    problems = [
        f"{place}.{key}: {unknown_name('price', key, DOCS)}" for key in content if key not in DOCS
    ]
    problems += [
        f"{place}.{name}: must be {DOCS[name][0]}, got {shown(value)}"
        for name, value in content.items()
        if name in DOCS and value is not None and not _fits(name, value)
    ]
    given = {name: value for name, value in content.items() if value is not None}
    return (None, problems) if problems or not given else (Prices(**given), [])


def _fits(name: str, value: Any) -> bool:
    if name == "currency":
        return isinstance(value, str)
    return is_number(value) and 0 <= value < math.inf
