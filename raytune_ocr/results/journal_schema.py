"""What a line of the journal must hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Any

# Kinds of notes: what a trial had at a rung of ASHA, whom the median rule stopped, whom successive
# halving ended, who took whose place in a population, how a winner read the test split.
RUNG, MEDIAN, HALVING, GENERATION = "rung", "median", "halving", "generation"


HELD_OUT = "held_out"


TYPES: dict[str, Any] = {
    **dict.fromkeys(("trial", "status", "stop_reason", "error_message"), str),
    **dict.fromkeys(("fingerprint", "search", "timestamp", "results_file"), str),
    **dict.fromkeys(("id", "name", "parent", "instead_of"), str),
    **dict.fromkeys(("run", "sampled", "used", "figures", "settings"), dict),
    **dict.fromkeys(("rows", "warm_start", "refine", "heirs", "ends"), list),
    **dict.fromkeys(("epoch", "left"), int),
    "score": (int, float, NoneType),
    "stopped": bool,
}
"""Of what facts are made of, wherever in a fact it stands."""


NEEDED = {
    "trial": ("trial", "status", "rows"),
    RUNG: ("trial", "epoch", "score", "stopped"),
    MEDIAN: ("trial", "epoch"),
    HALVING: ("epoch", "ends", "left"),
    GENERATION: ("epoch", "heirs"),
    HELD_OUT: ("trial", "figures"),
}
"""By kind of fact: what those who read it rely on."""


ROW, READS = ("epoch", "train_loss", "seconds"), ("val_char_accuracy", "val_seq_accuracy")


MOST_DIGITS = 18


HEIR = ("name", "parent", "instead_of", "settings")


def _is_fact(fact: Any) -> bool:
    """Whether it is what `note`, `keep` and `rewrite` write, as far as others rely on it."""
    if not isinstance(fact, dict) or not fact:
        return False
    if "trial" in fact:
        return (
            _holds(fact, NEEDED["trial"])
            and all(isinstance(row, dict) and _is_row(row) for row in fact["rows"])
            and all(isinstance(number, int) for number in fact.get("used", {}).values())
        )
    return len(fact) == 1 and all(
        isinstance(value, dict)
        and _holds(value, NEEDED.get(kind, ()))
        and all(isinstance(heir, dict) and _holds(heir, HEIR) for heir in value.get("heirs", []))
        and all(isinstance(name, str) for name in value.get("ends", []))
        for kind, value in fact.items()
    )


def _is_row(row: Mapping[str, Any]) -> bool:
    reads = [name for name in READS if name in row]  # a reader is ranked by both, others by neither
    return _holds(row, (*ROW, *(READS if reads else ()))) and all(
        isinstance(value, str if name == "experiment_name" else (int, float, NoneType))
        for name, value in row.items()
    )


def _int(digits: str) -> int:
    """Of a size that a run can have counted to, so that it is a float as well."""
    if len(digits) > MOST_DIGITS:
        raise ValueError("a number of too many digits")
    return int(digits)


def _holds(fact: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Whether all `names` are there, and everything is of its type."""
    return all(name in fact for name in names) and all(
        isinstance(value, TYPES.get(name, object)) for name, value in fact.items()
    )
