"""Search domains, which a leaf of an experiment may have instead of one value.

    learning_rate: {loguniform: [1e-4, 1e-2]}     # drawn from a to b, evenly on a log scale
    label_smoothing: {uniform: [0, 0.1]}          # from a to b
    warmup_epochs: {randint: [0, 3]}              # whole numbers, both ends included
    batch_size: {quniform: [16, 64, 16]}          # from a to b in steps of q
    type: {choice: [adam, adamw]}                 # one of these
    name: {grid: [small, ctc_small]}              # each of these, num_samples times
    focal_gamma: {uniform: [0.5, 3], when: {training.loss_type: focal}}

A leaf with `when` is only set in trials where another leaf has that value, or one of a list of
values.
"""

from __future__ import annotations

import difflib
import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from raytune_ocr.config.rules import is_number, is_plain, shown

Path = tuple[Any, ...]

LISTS = ("choice", "grid")
RANGES = ("uniform", "loguniform", "quniform", "randint")
KINDS = (*LISTS, *RANGES)
DEEPEST = 8
MOST_STEPS = 1_000_000  # of `quniform`
DIGITS = 4
"""Significant digits of a drawn number, and of its range's width, so that it can be copied."""


@dataclass(frozen=True)
class Domain:
    """A checked domain.

    Attributes:
        kind: one of `KINDS`.
        values: the values of `choice` and `grid`; else the bounds, then the step.
        path: keys from the experiment down to the leaf.
        when: fields with the values that the leaf depends on.
    """

    kind: str
    values: tuple[Any, ...]
    path: Path = ()
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    @property
    def is_list(self) -> bool:
        """Whether it is a list of values (`choice` or `grid`)."""
        return self.kind in LISTS

    @property
    def low(self) -> Any:
        """The lower bound of a range."""
        return self.values[0]

    @property
    def high(self) -> Any:
        """The upper bound of a range, included."""
        return self.values[1]

    @property
    def steps(self) -> int:
        """Number of steps of `quniform` between its bounds."""
        return math.floor((self.high - self.low) / self.values[2] + 1e-9)

    def draw(self, rng: random.Random) -> Any:
        """Draw a value, uniformly."""
        if self.is_list:
            return rng.choice(self.values)
        if self.kind == "randint":
            return rng.randint(self.low, self.high)
        if self.kind == "quniform":
            return self.at_step(rng.randint(0, self.steps))
        if self.kind == "uniform":
            return self.rounded(rng.uniform(self.low, self.high))
        return self.rounded(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))

    def at_step(self, number: int) -> Any:
        """Return the value of `quniform` after `steps` steps."""
        return _plain(self.low + number * self.values[2], self.values[2])

    def rounded(self, value: float) -> float:
        """Return `value` with few digits, still within the bounds.

        It keeps `DIGITS` digits of itself or of the range's width, whichever is finer, so that a
        narrow range far from 0 still has thousands of values.
        """
        digits = DIGITS
        if value:
            finer = _magnitude(value) - _magnitude(self.high - self.low)
            digits = min(digits + max(0, finer), 17)
        return min(max(float(f"{value:.{digits}g}"), self.low), self.high)

    def to_optuna(self, value: Any) -> Any:
        """Return `value` as a list item's text, a number of steps or a number; None if outside.

        A value between steps or integers becomes the nearest one.
        """
        if not self.holds(value):
            return None
        if self.is_list:
            return _text(value)
        if self.kind == "quniform":
            return min(round((value - self.low) / self.values[2]), self.steps)
        return round(value) if self.kind == "randint" else value

    def from_optuna(self, value: Any) -> Any:
        """Return the value for what `to_optuna` returned, numbers rounded."""
        if self.is_list:
            return json.loads(value)
        if self.kind == "quniform":
            return self.at_step(value)
        return value if self.kind == "randint" else self.rounded(value)

    def holds(self, value: Any) -> bool:
        """Whether `value` could have been drawn, apart from step and rounding."""
        if self.is_list:
            return any(_text(value) == _text(one) for one in self.values)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and self.low <= value <= self.high

    def around(self, value: Any) -> Domain:
        """Return the part near `value`: a quarter of the range on either side.

        `loguniform` is measured on its log scale; integers and steps keep at least one neighbour on
        either side; a list of numbers keeps the next smaller and larger one, other lists only the
        value. If `value` is outside, the domain stays as it is.
        """
        if not self.holds(value):
            return self
        if self.is_list:
            return replace(self, values=_neighbours(self.values, value))
        if self.kind == "loguniform":
            reach = (self.high / self.low) ** 0.25
            low, high = value / reach, value * reach
        else:
            reach = (self.high - self.low) / 4
            if self.kind == "randint":
                value, reach = round(value), max(1, round(reach))
            elif self.kind == "quniform":
                reach = max(1, round(reach / self.values[2])) * self.values[2]
            low, high = _plain(value - reach, reach), _plain(value + reach, reach)
        if self.kind in ("uniform", "loguniform"):
            low, high = self.rounded(low), self.rounded(high)
        bounds = (max(self.low, low), min(self.high, high))
        return replace(self, values=(*bounds, *self.values[2:]))

    def scaled(self, value: float, factor: float) -> Any:
        """Return `value` times `factor`, within the bounds; of lists and steps the neighbour."""
        if self.is_list:
            there = sorted(self.values)
            beyond = [v for v in there if (v > value) == (factor > 1) and v != value]
            return min(beyond or there, key=lambda v: abs(v - value))
        if self.kind not in ("quniform", "randint"):
            return self.rounded(value * factor)
        step, last = (
            (1, self.high - self.low)
            if self.kind == "randint"
            else (
                self.values[2],
                self.steps,
            )
        )
        at = (value - self.low) / step
        number = math.floor(at + 1e-9) + 1 if factor > 1 else math.ceil(at - 1e-9) - 1
        return _plain(self.low + min(max(number, 0), last) * step, step)

    def __str__(self) -> str:
        return f"{self.kind} {json.dumps(list(self.values), ensure_ascii=False)}"


def find_domains(content: Any, path: Path = ()) -> Iterator[tuple[Path, Mapping[Any, Any]]]:
    """Yield every leaf that is written as a domain, valid or not, with its path."""
    if len(path) > DEEPEST:
        return
    if isinstance(content, Mapping):
        if len(path) >= 2 and is_domain(content):
            yield path, content
            return
        for key, value in content.items():
            yield from find_domains(value, (*path, key))
    elif isinstance(content, (list, tuple)):
        for index, value in enumerate(content):
            yield from find_domains(value, (*path, index))


def misspelt_domains(content: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield the paths of leaves that look like domains of a misspelt kind, with that kind."""
    if len(path) > DEEPEST:
        return
    if isinstance(content, Mapping):
        kinds = [key for key in content if key != "when"]
        if len(kinds) == 1 and isinstance(content[kinds[0]], (list, tuple)):
            kind = str(kinds[0])
            if kind not in KINDS and difflib.get_close_matches(kind, KINDS, cutoff=0.8):
                yield path, kind
                return
        for key, value in content.items():
            yield from misspelt_domains(value, (*path, key))


def is_domain(content: Mapping[str, Any]) -> bool:
    """Whether a mapping is written as a domain."""
    return bool(set(content) & set(KINDS)) and set(content) <= {*KINDS, "when"}


def parse_domain(content: Mapping[str, Any], path: Path, place: str) -> tuple[Domain, list[str]]:
    """Return the domain without its conditions, and the problems of its form."""
    kinds = [kind for kind in KINDS if kind in content]
    kind = kinds[0]
    values = content[kind]
    place = f"{place}.{kind}"
    if len(kinds) > 1:
        return Domain(kind, (), path), [f"{place}: must have one kind, got {', '.join(kinds)}"]
    if not isinstance(values, (list, tuple)):
        return Domain(kind, (), path), [f"{place}: must be a list, got {shown(values)}"]
    domain = Domain(kind, tuple(values), path)
    return domain, [f"{place}: {problem}" for problem in _shape_problems(domain)]


def _shape_problems(domain: Domain) -> list[str]:
    values = list(domain.values)
    if domain.is_list:
        return _list_problems(values)
    wanted = 3 if domain.kind == "quniform" else 2
    if len(values) != wanted or not all(is_number(v) and math.isfinite(v) for v in values):
        names = "a lower bound, an upper bound and a step" if wanted == 3 else "two bounds"
        return [f"must be {names}, all of them numbers, got {shown(values)}"]
    if domain.low >= domain.high:
        return [f"the lower bound must be below the upper one, got {shown(values)}"]
    if not math.isfinite(float(domain.high) - float(domain.low)):
        return [f"the bounds must be less than 1.8e308 apart, got {shown(values)}"]
    if domain.kind == "loguniform" and domain.low <= 0:
        return [f"a log scale needs bounds > 0, got {shown(values)}"]
    if domain.kind == "randint" and not all(isinstance(v, int) for v in values):
        return [f"must be integers, got {shown(values)}"]
    if domain.kind == "quniform":
        return _step_problems(domain)
    return []


def _list_problems(values: list[Any]) -> list[str]:
    if not values:
        return ["must hold at least one value, got []"]
    if not is_plain(values):
        return [f"must hold plain values (text, numbers, true, false, null), got {shown(values)}"]
    doubled = len({_text(value) for value in values}) < len(values)
    return [f"must hold each value once, got {shown(values)}"] if doubled else []


def _step_problems(domain: Domain) -> list[str]:
    values = list(domain.values)
    width, step = domain.high - domain.low, values[2]
    if not 0 < step <= width:
        return [f"the step must be > 0 and fit between the bounds, got {shown(values)}"]
    if width / MOST_STEPS > step:
        return [f"must have at most {MOST_STEPS:,} steps, got {shown(values)}"]
    return []


def _neighbours(values: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
        return (value,)
    ordered = sorted(values)
    at = ordered.index(value)
    near = ordered[max(0, at - 1) : at + 2]
    return tuple(v for v in values if v in near)


def _magnitude(value: float) -> int:
    """Return the exponent of a number other than 0 in scientific notation."""
    return math.floor(math.log10(abs(value)))


def _plain(value: float, step: float) -> Any:
    """Return `value` without floating-point noise far below `step`; integers stay integers."""
    return value if isinstance(value, int) else round(value, 12 - min(0, _magnitude(step)))


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
