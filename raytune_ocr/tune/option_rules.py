"""Rules of options: how text of the command line and values of a YAML file are read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from raytune_ocr.config.rules import NOT_NEGATIVE, POSITIVE, Rule
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.plugins import Registry
from raytune_ocr.results.targets import Target
from raytune_ocr.tasks.registry import target_keys, target_metrics

ALL = "all"
UNITS = {"h": 3600, "m": 60, "s": 1}


class OptionRule(NamedTuple):
    """What the value of an option must be.

    Attributes:
        text: the rule in words, after "must be".
        read: the value of text or of a YAML value; None where it breaks the rule.
        schema: of the YAML value, a JSON Schema.
    """

    text: str
    read: Callable[[Any], Any]
    schema: Mapping[str, Any]


def integer(low: int) -> OptionRule:
    def read(value: Any) -> int | None:
        number = _number(value)
        return int(number) if number is not None and number >= low and number % 1 == 0 else None

    return OptionRule(f"an integer >= {low}", read, {"type": "integer", "minimum": low})


def integer_or_all(low: int) -> OptionRule:
    number = integer(low)

    def read(value: Any) -> int | str | None:
        return ALL if value == ALL else number.read(value)

    schema = {"anyOf": [dict(number.schema), {"const": ALL}]}
    return OptionRule(f"{number.text}, or {ALL}", read, schema)


def at_least(low: float) -> OptionRule:
    def read(value: Any) -> float | None:
        number = _number(value)
        return number if number is not None and number >= low else None

    return OptionRule(f"a number >= {low:g}", read, {"type": "number", "minimum": low})


def one_of(names: Sequence[str]) -> OptionRule:
    def read(value: Any) -> str | None:
        return value if isinstance(value, str) and value in names else None

    return OptionRule(f"one of {', '.join(names)}", read, {"enum": list(names)})


def name_in(registry: Registry[Any], *others: str) -> OptionRule:
    """A name of a registry, or one of `others`; one that a package brings later is read as well."""

    def read(value: Any) -> str | None:
        known = isinstance(value, str) and value in (*registry.names(), *others)
        return value if known else None

    return one_of([*registry.names(), *others])._replace(read=read)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def parse_duration(value: Any) -> float | None:
    """Return the seconds of a number, or of text with units; None where it is neither.

    >>> parse_duration("1h30m"), parse_duration(90)
    (5400.0, 90.0)
    """
    number = _number(value)
    if number is None:
        text = value.strip() if isinstance(value, str) else ""
        parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", text)
        if not text or "".join(n + unit for n, unit in parts) != text:
            return None
        number = sum(float(n) * UNITS[unit] for n, unit in parts)
    return number if 0 < number < math.inf else None


_ACCURACY = Rule(
    float,
    "a fraction > 0 and <= 1 (0.99 for 99 %)",
    {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    lambda value: 0 < value <= 1,
)


_NUMBER = Rule(float, "a number", {"type": "number"})


def goal_rule(name: str) -> Rule:
    """Return what the goal of a target must be: a fraction for accuracies, else a number.

    The metrics of a task of one's own are any numbers.
    """
    if name not in {**target_metrics(), **target_keys()}:
        return _NUMBER
    if name.endswith("accuracy"):
        return _ACCURACY
    return NOT_NEGATIVE if name in target_metrics() else POSITIVE


def parse_target(value: Any) -> Target | None:
    """Return the target of `character_accuracy=0.99`, or of a mapping of one metric to a value."""
    if isinstance(value, Target):
        return value
    if isinstance(value, str):
        name, _, text = value.partition("=")
        value = {name.strip(): _number(text)}
    if not isinstance(value, Mapping) or len(value) != 1:
        return None
    ((name, goal),) = value.items()
    if not isinstance(name, str) or not name or name in target_keys().keys() - target_metrics():
        return None
    try:
        return Target(name, goal_rule(name).read(goal, name))
    except ConfigurationError:
        return None


DURATION = OptionRule(
    "seconds, or a time such as 90s, 30m or 1h30m",
    parse_duration,
    {
        "anyOf": [
            {"type": "number", "exclusiveMinimum": 0},
            {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?[hms])+$"},
        ]
    },
)

TARGET = OptionRule(
    f"METRIC=VALUE with a metric of {', '.join(target_metrics())} (an accuracy is a fraction, 0.99 "
    "for 99 %), or of a task of one's own",
    parse_target,
    {
        "anyOf": [
            {"type": "string", "pattern": r"^\s*[^=\s][^=]*="},
            {
                "type": "object",
                "properties": {name: dict(goal_rule(name).schema) for name in target_metrics()},
                "additionalProperties": {"type": "number"},
                "minProperties": 1,
                "maxProperties": 1,
            },
        ]
    },
)
