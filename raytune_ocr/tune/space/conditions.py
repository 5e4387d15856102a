"""Parse and check the conditions (`when`) under which a sample has a domain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from raytune_ocr.config.changes import PARAMETER
from raytune_ocr.config.rules import shown
from raytune_ocr.config.settings import PATHS, RULES, check
from raytune_ocr.errors import ConfigurationError, unknown_name
from raytune_ocr.tune.space.domains import Domain
from raytune_ocr.tune.space.experiment import Experiment, value_of
from raytune_ocr.tune.space.sections import dotted, with_derived


def parse_conditions(
    written: Any, name: str, place: str
) -> tuple[tuple[tuple[str, tuple[Any, ...]], ...], list[str]]:
    """Return conditions by field, and the problems of each."""
    if written is None:
        return (), []
    if not isinstance(written, Mapping) or not written:
        rule = "must be a mapping such as {training.loss_type: focal}"
        return (), [f"{place}: {rule}, got {shown(written)}"]
    conditions, problems = [], []
    for key, wanted in written.items():
        other = PATHS.get(key) or key
        where = f"{place}.{key}"
        if other not in RULES and not other.startswith(PARAMETER):
            problems.append(f"{where}: {unknown_name('setting', key, PATHS)}")
            continue
        if other == name:
            problems.append(f"{where}: a setting cannot depend on itself")
            continue
        values = wanted if isinstance(wanted, list) else [wanted]
        try:
            checked = (check(other, v, where) if other in RULES else v for v in values)
            conditions.append((other, tuple(checked)))
        except ConfigurationError as error:
            problems.append(str(error))
    return tuple(conditions), problems


def impossible_conditions(experiment: Experiment) -> list[str]:
    """Return the conditions that can never hold in the file; overrides may cause that."""
    fixed = with_derived(experiment.fields)
    return [
        f"{where}.when: can never hold, {name} is {there}, never one of {shown(list(wanted))}"
        for where, name, wanted, there in _impossible(experiment, fixed)
    ]


def _impossible(
    experiment: Experiment, fixed: Mapping[str, Any]
) -> Iterator[tuple[str, str, tuple[Any, ...], str]]:
    for domain in experiment.domains.values():
        where = dotted(experiment.place, *domain.path)
        for name, wanted in domain.when:
            parent = experiment.domains.get(name)
            if name in experiment.overrides or (name == "loss_type" and parent is None):
                continue  # a loss may follow from the model
            now = value_of(fixed, name)
            possible = any(parent.holds(v) for v in wanted) if parent else now in wanted
            if not possible and not (parent and now in wanted):
                yield where, name, wanted, str(parent) if parent else repr(now)


def in_order_of_conditions(domains: Mapping[str, Domain], place: str) -> dict[str, Domain]:
    """Sort domains so that dependencies of `when` come first.

    Raises:
        ConfigurationError: the conditions form a cycle.
    """
    waiting = dict(domains)
    ordered: dict[str, Domain] = {}
    while waiting:
        ready = [
            name
            for name, domain in waiting.items()
            if not any(other in waiting for other, _ in domain.when)
        ]
        if not ready:
            names = ", ".join(waiting)
            raise ConfigurationError(f"{place}: the conditions of {names} form a cycle")
        ordered |= {name: waiting.pop(name) for name in ready}
    return ordered
