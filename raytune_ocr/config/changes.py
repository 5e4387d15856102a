"""Settings that may change while a trial trains: which, and the rule of `changes`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from raytune_ocr.config.rules import (
    FRACTION_OR_0,
    NOT_NEGATIVE,
    POSITIVE,
    Rule,
    integer,
    is_plain,
)
from raytune_ocr.errors import ConfigurationError

CHANGEABLE_RULES: dict[str, Rule] = {
    "learning_rate": POSITIVE,
    "weight_decay": NOT_NEGATIVE,
    "gradient_clip_norm": NOT_NEGATIVE,
    "label_smoothing": FRACTION_OR_0,
}

PARAMETER = "parameters."
"""Begins the names of parameters of a task of one's own, which may change as well."""

CHANGEABLE = tuple(CHANGEABLE_RULES)
"""Settings that `changes` may change, since they need neither another model nor other data."""


def _is_change(value: Any) -> bool:
    """Whether `value` is a list of changes by epoch that obey the rules of their settings."""
    if not isinstance(value, Mapping) or not {"after_epoch"} < value.keys():
        return False
    rules = {"after_epoch": integer(1), **CHANGEABLE_RULES}
    try:
        for name, part in value.items():
            if not (name.startswith(PARAMETER) and is_plain(part)):
                rules[name].read(part, name)
    except (ConfigurationError, KeyError):
        return False
    return True


def _are_changes(value: list[Any]) -> bool:
    return all(map(_is_change, value)) and all(
        first["after_epoch"] < then["after_epoch"] for first, then in itertools.pairwise(value)
    )


CHANGES = Rule(
    list,
    "a list such as [{after_epoch: 5, learning_rate: 1e-4}], later ones after it, each with one or "
    f"more of {', '.join(CHANGEABLE)} or parameters.NAME",
    {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "after_epoch": integer(1).schema,
                **{name: rule.schema for name, rule in CHANGEABLE_RULES.items()},
            },
            "required": ["after_epoch"],
            "patternProperties": {f"^{PARAMETER}": {}},
            "minProperties": 2,
            "additionalProperties": False,
        },
    },
    _are_changes,
)
