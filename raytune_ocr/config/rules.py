"""Rules of values: a type and a range, with their text for messages and their JSON Schema."""

from __future__ import annotations

import math
import os
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from raytune_ocr.errors import ConfigurationError

LONGEST_NAME = 100  # letters of an experiment's name
NAME_PATTERN = rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}"


class Rule(NamedTuple):
    """The rule of a value.

    Attributes:
        kind: its Python type; float takes integers, list takes tuples, str takes `pathlib` paths.
        text: the rule in words, after "must be".
        schema: the same as a JSON Schema.
        holds: whether a value of that type obeys the rule.
    """

    kind: type
    text: str
    schema: Mapping[str, Any]
    holds: Callable[[Any], bool] = lambda value: True

    def read(self, value: Any, path: str) -> Any:
        """Return `value` as the rule's type.

        Raises:
            ConfigurationError: `<path>: must be <rule>, got <value>`.
        """
        typed = _typed(self.kind, value)
        if typed is None or not self.holds(typed):
            raise ConfigurationError(f"{path}: must be {self.text}, got {shown(value)}")
        return typed


def _typed(kind: type, value: Any) -> Any:
    """Return `value` as a plain `kind`; None if it has another type or is not finite."""
    if kind is bool:
        return value if isinstance(value, bool) else None
    if kind is float:
        return float(value) if is_number(value) and math.isfinite(value) else None
    if kind is int:
        return int(value) if is_number(value) and isinstance(value, int) else None
    if kind is list:
        return list(value) if isinstance(value, (list, tuple)) else None
    if kind is str and isinstance(value, os.PathLike):
        value = os.fspath(value)  # bytes for some
    return kind(value) if isinstance(value, kind) else None


def is_number(value: Any) -> bool:
    """Whether `value` is a float, or an integer that converts to one; True and False are not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, float) or abs(value) < 2**1023


LONGEST_VALUE = 300  # letters of a value in a message

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 20
_SHORT.maxlevel = 4


def shown(value: Any) -> str:
    """Return `repr(value)` for a message, shortened if it is long or deep."""
    try:
        text = _SHORT.repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a number with too many digits"
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def integer(low: int, high: int | None = None) -> Rule:
    """Return the rule of an integer from `low` to `high`."""
    if high is None:
        return Rule(
            int, f"an integer >= {low}", {"type": "integer", "minimum": low}, lambda v: v >= low
        )
    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Rule(int, f"an integer from {low} to {high}", schema, lambda v: low <= v <= high)


def one_of(*names: str) -> Rule:
    """Return the rule of a text that is one of `names`."""
    return Rule(str, f"one of {', '.join(names)}", {"enum": list(names)}, lambda v: v in names)


def _number(text: str, holds: Callable[[float], bool], **schema: float) -> Rule:
    return Rule(float, f"a number {text}", {"type": "number", **schema}, holds)


POSITIVE = _number("> 0", lambda v: v > 0, exclusiveMinimum=0)
NOT_NEGATIVE = _number(">= 0", lambda v: v >= 0, minimum=0)
FRACTION = _number("> 0 and < 1", lambda v: 0 < v < 1, exclusiveMinimum=0, exclusiveMaximum=1)
FRACTION_OR_0 = _number(">= 0 and < 1", lambda v: 0 <= v < 1, minimum=0, exclusiveMaximum=1)
FRACTION_OR_1 = _number("> 0 and <= 1", lambda v: 0 < v <= 1, exclusiveMinimum=0, maximum=1)


def at_least(low: float) -> Rule:
    """Return the rule of a number that is not below `low`."""
    return _number(f">= {low:g}", lambda v: v >= low, minimum=low)


def is_text(value: Any) -> bool:
    """Whether `value` is text that UTF-8 can encode."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def is_plain(value: Any, depth: int = 0) -> bool:
    """Whether `value` is text, a number, true, false, null, or lists and mappings of these."""
    if isinstance(value, Mapping):
        inner = depth < 20 and all(map(is_text, value))
        return inner and all(is_plain(part, depth + 1) for part in value.values())
    if isinstance(value, (list, tuple)):
        return depth < 20 and all(is_plain(part, depth + 1) for part in value)
    return (
        value is None
        or type(value) in (bool, int, float)
        or (type(value) is str and is_text(value))
    )


_MODULE = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_IN_MODULE = rf"{_MODULE}:[^\W\d]\w*"
FLAG = Rule(bool, "true or false", {"type": "boolean"})
PATH = Rule(str, "a path (text)", {"type": "string"}, is_text)
TEXT = Rule(
    str,
    "text that is not empty",
    {"type": "string", "pattern": r"\S"},
    lambda v: bool(v.strip()) and is_text(v),
)
KEYWORDS = Rule(
    dict,
    "a mapping of names to plain values (text, numbers, true, false, null, lists, mappings)",
    {"type": "object"},
    is_plain,
)
MODULES = Rule(
    list,
    "a list of module names",
    {"type": "array", "items": {"type": "string", "pattern": f"^{_MODULE}$"}},
    lambda v: all(isinstance(m, str) and all(p.isidentifier() for p in m.split(".")) for m in v),
)
TRAINABLE = Rule(
    str,
    "the name of a function, module:function",
    {"type": "string", "pattern": f"^({_IN_MODULE})?$"},
    lambda v: bool(re.fullmatch(f"({_IN_MODULE})?", v)),
)
TASK = Rule(
    str,
    "the name of a task, or of a class, module:Class",
    {"type": "string", "pattern": f"^({_IN_MODULE}|[A-Za-z0-9_.-]*)$"},
    lambda v: bool(re.fullmatch(f"{_IN_MODULE}|[A-Za-z0-9_.-]*", v)),
)
NAMES = Rule(
    list,
    "a list of names",
    {"type": "array", "items": {"type": "string"}},
    lambda v: all(map(is_text, v)),
)
IMAGE_SHAPE = Rule(
    list,
    "[channels, height, width] with 1 or 3 channels, or []",
    {"type": "array", "items": {"type": "integer", "minimum": 1}, "maxItems": 3},
    lambda v: (
        not v or (len(v) == 3 and all(type(n) is int and n > 0 for n in v) and v[0] in (1, 3))
    ),
)
NAME = Rule(
    str,
    f"a name of letters, digits, '.', '_' and '-', {LONGEST_NAME} at most, the first a letter or "
    "digit",
    {"type": "string", "pattern": f"^{NAME_PATTERN}$"},
    lambda v: bool(re.fullmatch(NAME_PATTERN, v)) and ".." not in v,
)
DEVICE = Rule(
    str,
    "auto, cpu, mps, cuda or cuda:N",
    {"type": "string", "pattern": r"^(auto|cpu|mps|cuda(:[0-9]+)?)$"},
    lambda v: bool(re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,9})?", v)),
)
BETAS = Rule(
    list,
    "two numbers >= 0 and < 1",
    {"type": "array", "items": dict(FRACTION_OR_0.schema), "minItems": 2, "maxItems": 2},
    lambda v: len(v) == 2 and all(is_number(b) and 0 <= b < 1 for b in v),
)
