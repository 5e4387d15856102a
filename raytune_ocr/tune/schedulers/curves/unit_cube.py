"""Map the settings of trials to points of the unit cube, for models of the search."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raytune_ocr.tune.schedulers.base import Trial
from raytune_ocr.tune.space.domains import Domain

Array = NDArray[np.float64]
LOG_RATIO = 10.0
"""Positive values of presets that differ by more than this factor are put on a log scale."""


@dataclass(frozen=True)
class Range:
    """A number as its position between two bounds, on a log scale if `log`."""

    low: float
    high: float
    log: bool = False

    width = 1

    def place(self, value: Any) -> list[float]:
        """Return the position in [0, 1]; NaN if `value` is not a number."""
        if not _is_number(value) or (self.log and value <= 0):
            return [math.nan]
        low, high, at = self.low, self.high, float(value)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return [min(max((at - low) / (high - low), 0.0), 1.0) if high > low else 0.5]


@dataclass(frozen=True)
class Ordered:
    """One of a few numbers as its rank."""

    values: tuple[float, ...]

    width = 1

    def place(self, value: Any) -> list[float]:
        """Return the position in [0, 1]; NaN for another value."""
        if value not in self.values:
            return [math.nan]
        return [self.values.index(value) / max(len(self.values) - 1, 1)]


@dataclass(frozen=True)
class Categories:
    """One of a few values, a column for each."""

    values: tuple[str, ...]

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self.values)

    def place(self, value: Any) -> list[float]:
        """1 in its column; NaN everywhere for another value."""
        text = _text(value)
        if text not in self.values:
            return [math.nan] * self.width
        return [float(text == one) for one in self.values]


Axis = Range | Ordered | Categories


class UnitCube:
    """The axes of a search: a field that a domain draws, or in which presets differ.

    Numbers lie between the bounds of their domains, on log scales where the domain has one;
    numbers of a list lie by rank; other values have a column each. A setting that a trial lacks,
    for example because its condition does not hold, is NaN.

    Args:
        domains: by searched experiment, the domain of each searched field.
        presets: trials without domains.
    """

    def __init__(
        self, domains: Mapping[str, Mapping[str, Domain]], presets: Iterable[Trial] = ()
    ) -> None:
        rows = [preset.settings_after(0) for preset in presets]
        found: dict[str, list[Domain]] = {}
        for of_search in domains.values():
            for name, domain in of_search.items():
                found.setdefault(name, []).append(domain)
        for name in _differing(rows):
            found.setdefault(name, [])
        self.axes = {
            name: _axis(those, [row[name] for row in rows if name in row])
            for name, those in found.items()
        }
        self._searched = {name: set(of_search) for name, of_search in domains.items()}
        self._known: dict[str, Array] = {}

    @property
    def size(self) -> int:
        """The number of columns, at least 1."""
        return max(1, sum(axis.width for axis in self.axes.values()))

    def point(self, trial: Trial) -> Array:
        """Return the settings of a trial [size], cached for later choices."""
        if trial.name not in self._known:
            settings = trial.settings_after(0)
            self._known[trial.name] = self.place(trial.search, trial.sampled, settings)
        return self._known[trial.name]

    def place(self, search: str, sampled: Mapping[str, Any], settings: Mapping[str, Any]) -> Array:
        """Return the position [size] of settings, of which a search has sampled some."""
        inactive = self._searched.get(search, set()) - sampled.keys()
        columns: list[float] = []
        for name, axis in self.axes.items():
            value = sampled.get(name, None if name in inactive else settings.get(name))
            columns += axis.place(value)
        return np.array(columns or [0.5])


def _axis(domains: list[Domain], values: list[Any]) -> Axis:
    """Return the axis of one field, from its domains and the presets' values."""
    listed = [v for d in domains if d.is_list for v in d.values] + values
    ranges = [d for d in domains if not d.is_list]
    numbers = [float(v) for v in listed if _is_number(v)]
    if len(numbers) < len(listed) or not (numbers or ranges):
        return Categories(tuple(dict.fromkeys(map(_text, listed))))
    if not ranges and not values:
        return Ordered(tuple(sorted(set(numbers))))
    low = min([*numbers, *(float(d.low) for d in ranges)])
    high = max([*numbers, *(float(d.high) for d in ranges)])
    logs = any(d.kind == "loguniform" for d in ranges) or (not ranges and high > LOG_RATIO * low)
    return Range(low, high, logs and low > 0)


def _differing(rows: list[Mapping[str, Any]]) -> list[str]:
    """Return the fields of plain values that differ between rows."""
    names = dict.fromkeys(name for row in rows for name in row)
    texts = {name: {_text(row.get(name)) for row in rows} for name in names}
    return [
        name
        for name in names
        if len(texts[name]) > 1 and all(_is_plain(row.get(name)) for row in rows)
    ]


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, bool, int, float))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
