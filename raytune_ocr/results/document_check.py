"""Check the content of a results JSON when it is read, since it may come from someone else.

Few keys are required, since the original system's results have fewer. A metric that is not a
number becomes None, like one that was not measured; other wrong types are errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from raytune_ocr.results.cost import COST_COLUMNS
from raytune_ocr.tasks.registry import figure_names

MOST_DIGITS = 18  # of an integer that fits a float and a NumPy integer
NUMBERS = (
    *("training_time", "best_epoch", "final_train_loss", "total_epochs", "train_time_per_epoch"),
    *("seed", "batch_size_used", "accumulation_used", "threads", "parent_epoch", "rank"),
    *COST_COLUMNS,
    "trials",
    *("model_parameters", "best_value", "mean", "std", "value", "goal", "lead", "p_value"),
)
TEXTS = (
    *("experiment_name", "status", "stop_reason", "checkpoint", "error_message", "error", "search"),
    *("best_metric", "best_mode", "parent", "timestamp", "run_id", "metric", "verdict"),
    *("winner", "runner_up", "currency"),
)
MAPPINGS = (
    *("hyperparameters", "config", "sampled", "metrics", "made_with", "targets", "environment"),
    *("best_result", "confirmation", "scores", "costs"),
)
LISTS = ("all_results", "results", "candidates", "seeds", "presets")
KINDS: dict[str, tuple[type, str]] = {
    **dict.fromkeys(TEXTS, (str, "text")),
    **dict.fromkeys(MAPPINGS, (dict, "a mapping")),
    **dict.fromkeys(LISTS, (list, "a list")),
}
OPAQUE = ("hyperparameters", "config", "sampled", "metrics", "made_with", "environment")
"""Mappings with any keys; their users check them."""
REQUIRED = {
    "all_results": (),
    "results": (),
    "candidates": ("experiment_name", "scores"),  # the others are null before a training is over
}
"""Keys of the mappings in each list of mappings."""


def integer(digits: str) -> int:
    """Read an integer of JSON; raise ValueError if it has too many digits."""
    if len(digits) > MOST_DIGITS:
        raise ValueError("an integer with too many digits")
    return int(digits)


def check_document(document: dict[str, Any]) -> None:
    """Check a results JSON, and replace metrics that are not numbers by None.

    Raises:
        ValueError: `<place>: must be <rule>`.
    """
    if not (isinstance(document.get("best_result"), dict) and document["best_result"]):
        document["best_result"] = None  # no winner is named
    for problem in _problems(document, ""):
        raise ValueError(problem)
    figures = {*NUMBERS, *figure_names()}
    for mapping in _mappings(document):
        for name, value in mapping.items():
            of_test_split = name.startswith("test_") and not name.endswith("interval")
            if (name in figures or of_test_split) and not _is_number(value):
                mapping[name] = None
    for result in (*document["all_results"], document.get("best_result") or {}):
        for name in ("experiment_name", "status"):
            result[name] = result.get(name) or "?"


def _mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Yield all mappings except the opaque ones, at any depth."""
    if isinstance(value, dict):
        yield value
    parts = value.items() if isinstance(value, dict) else enumerate(_list(value))
    for name, part in parts:
        if name not in OPAQUE:
            yield from _mappings(part)


def _problems(value: Any, place: str) -> Iterator[str]:
    parts = value.items() if isinstance(value, dict) else enumerate(_list(value))
    for name, part in parts:
        here = f"{place}[{name}]" if isinstance(name, int) else f"{place}.{name}".lstrip(".")
        if isinstance(name, str):
            yield from _problems_of(name, part, here)
        if name not in OPAQUE:
            yield from _problems(part, here)


def _problems_of(name: str, value: Any, here: str) -> Iterator[str]:
    kind, rule = KINDS.get(name, (object, ""))
    fits: bool = value is None or isinstance(value, kind)
    if not fits:
        yield f"{here}: must be {rule}, got {str(value)[:40]!r}"
    elif name in REQUIRED and not all(_holds(part, REQUIRED[name]) for part in _list(value)):
        yield f"{here}: must be mappings with the keys {', '.join(REQUIRED[name]) or '(any)'}"
    elif here.endswith("].targets") and not all(_is_met(part) for part in (value or {}).values()):
        yield f"{here}: must have a mapping with `met`, true or false, for each goal"
    elif name == "scores" and not all(seed.isdecimal() for seed in value or {}):
        yield f"{here}: must have a score for each seed"
    elif name.endswith("interval") and not _is_interval(value):
        yield f"{here}: must be two numbers, got {str(value)[:40]!r}"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _holds(value: Any, names: Iterable[str] = ()) -> bool:
    return isinstance(value, dict) and all(value.get(name) is not None for name in names)


def _is_met(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("met"), bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_interval(value: Any) -> bool:
    return value is None or (len(_list(value)) == 2 and all(map(_is_number, value)))
