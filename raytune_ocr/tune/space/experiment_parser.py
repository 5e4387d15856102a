"""From an experiment as it is written to one that is checked: all that is wrong, told at once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from raytune_ocr.config.resources import parse_resources
from raytune_ocr.config.rules import RULES, check
from raytune_ocr.errors import ConfigurationError, unknown_name
from raytune_ocr.tune.space.domains import Domain, Path, find_domains, parse_domain
from raytune_ocr.tune.space.experiment import Experiment, copied, fill, put, value_of
from raytune_ocr.tune.space.registered_names import (
    NAMED,
    import_problems,
    name_problems,
    option_problems,
)
from raytune_ocr.tune.space.sections import (
    OWN_KEYS,
    SECTIONS,
    combined,
    fields_above,
    fields_of,
    flatten,
    monitor_problems,
)

DEFAULT_SAMPLES = 10
MOST_TRIALS = 9999
SHORTEST_NAME = "_0001"


def read_experiment(
    name: str,
    content: Any,
    place: str,
    base: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    num_samples: int | None = None,
    default_samples: int = DEFAULT_SAMPLES,
) -> Experiment:
    """Check an experiment whole.

    Args:
        num_samples: overrides the experiment's own.
        default_samples: where neither says how many.

    Raises:
        ConfigurationError: with all problems, one a line.
    """
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"{place}: must be a mapping of sections, got {content!r}")
    overrides = overrides or {}
    problems = []
    if content.get("experiment_name", name) != name:
        problems.append(
            f"{place}.experiment_name: must equal the experiment's key, "
            f"got {content['experiment_name']!r}"
        )
    resources, faults = parse_resources(content.get("resources"), f"{place}.resources")
    problems += faults
    domains, sections, faults = _domains(content, place, overrides)
    problems += faults
    experiment = Experiment(name, place, sections, domains, 1, resources, base or {}, overrides)
    firsts = {name: d.values[0] for name, d in domains.items() if "." in name and d.values}
    fields, faults = flatten(fill(sections, domains, firsts), place)
    fixed = combined(fields, base, overrides)
    problems += faults + _name_problems(experiment, fields, fixed)
    if "dataset_name" not in domains:  # which metrics there are depends on it
        problems += monitor_problems(fixed, place)
    if not problems:
        problems += _condition_problems(experiment)
    samples = content.get("num_samples")
    if samples is not None and not (type(samples) is int and samples >= 1):
        problems.append(f"{place}.num_samples: must be an integer >= 1, got {samples!r}")
    if problems:
        raise ConfigurationError("\n".join(problems))
    drawn = any(domain.kind != "grid" for domain in domains.values())
    if samples is not None and samples > 1 and not drawn and not fields_above(overrides):
        raise ConfigurationError(
            f"{place}.num_samples: must be 1 or left out where nothing is drawn (no domain but "
            f"grid), since equal trials end equal, got {samples}"
        )
    wanted = (num_samples or samples or default_samples) if drawn else 1
    experiment = replace(experiment, domains=_ordered(domains, place), num_samples=wanted)
    _check_size(experiment)
    return experiment


def _check_size(experiment: Experiment) -> None:
    """Raises ConfigurationError where it has more trials, or a longer name, than can be."""
    if experiment.size > MOST_TRIALS:
        raise ConfigurationError(
            f"{experiment.place}: must have at most {MOST_TRIALS} trials, got "
            f"{len(experiment.cells)} combinations of grids x {experiment.num_samples} samples = "
            f"{experiment.size}"
        )
    if experiment.is_search:
        check("experiment_name", experiment.name + SHORTEST_NAME, experiment.place)


def _domains(
    content: Mapping[str, Any], place: str, overrides: Mapping[str, Any]
) -> tuple[dict[str, Domain], dict[str, Any], list[str]]:
    """Domains by field, the sections without overridden ones, and what is wrong."""
    sections = copied({key: value for key, value in content.items() if key not in OWN_KEYS})
    fixed = fields_above(overrides)
    domains: dict[str, Domain] = {}
    problems = []
    for path, written in list(find_domains(sections)):
        where = ".".join(map(str, (place, *path)))
        name = _field(path)
        if name is None:
            continue  # an unknown key, told with the others
        if name.split(".")[0] in fixed:
            sections[path[0]].pop(path[1], None)
            continue
        domain, faults = parse_domain(written, path, where)
        if not faults:
            domain, faults = _fitted(domain, name, sections, where)
        when, more = _conditions(written.get("when"), name, f"{where}.when")
        if when and isinstance(path[-1], int):
            more = [f"{where}.when: a part of a list cannot be left out, so it has no conditions"]
        faults += more + _shadowed(path, sections, where)
        problems += faults
        domains[name] = replace(domain, when=when)
    return domains, sections, problems


def _field(path: Path) -> str | None:
    """The field that a leaf sets, with the way into it."""
    name = SECTIONS.get(path[0], {}).get(path[1])
    return name and ".".join([name, *map(str, path[2:])])


def _shadowed(path: Path, sections: Mapping[str, Any], where: str) -> list[str]:
    name = SECTIONS[path[0]][path[1]]
    later = list(SECTIONS)[list(SECTIONS).index(path[0]) + 1 :]
    return [
        f"{where}: has no effect, {section}.{key} sets the same"
        for section in later
        for key, other in SECTIONS[section].items()
        if other == name and key in (sections.get(section) or {})
    ]


def _fitted(
    domain: Domain, name: str, sections: Mapping[str, Any], where: str
) -> tuple[Domain, list[str]]:
    """The domain with its values as the field's type, and those that break the field's rule."""
    whole = len(domain.path) == 2
    place = f"{where}.{domain.kind}"
    problems: list[str] = []

    def fit(value: Any) -> Any:
        try:
            if whole:
                return check(name, value, place)
            filled = copy.deepcopy(sections[domain.path[0]])
            for path, other in find_domains({domain.path[0]: filled}):
                first = next((v for k, v in other.items() if k != "when"), [None])[0]
                put(filled, path[1:], value if path == domain.path else first)
            check(name.split(".")[0], filled[domain.path[1]], place)
        except ConfigurationError as error:
            problems.append(str(error))
        return value

    if whole and RULES[name].kind is int and domain.kind in ("uniform", "loguniform"):
        return domain, [f"{place}: draws fractions, but {name} is whole; use randint or quniform"]
    if domain.is_list:
        return replace(domain, values=tuple(map(fit, domain.values))), problems
    bounds = tuple(map(fit, domain.values[:2]))
    if domain.kind == "randint":
        bounds = domain.values  # whole, whatever type the field has
    fitted = replace(domain, values=(*bounds, *domain.values[2:]))
    if domain.kind == "quniform" and not problems:
        fit(fitted.at_step(1))
    return fitted, problems


def _conditions(
    written: Any, name: str, place: str
) -> tuple[tuple[tuple[str, tuple[Any, ...]], ...], list[str]]:
    """Conditions by field, and what is wrong with each by itself."""
    if written is None:
        return (), []
    if not isinstance(written, Mapping) or not written:
        rule = "must be a mapping such as {training.loss_type: focal}"
        return (), [f"{place}: {rule}, got {written!r}"]
    dotted = {f"{s}.{key}": f for s, keys in SECTIONS.items() for key, f in keys.items()}
    conditions, problems = [], []
    for key, wanted in written.items():
        other = dotted.get(key, key)
        where = f"{place}.{key}"
        if other not in RULES:
            problems.append(f"{where}: {unknown_name('setting', key, dotted)}")
            continue
        if other == name:
            problems.append(f"{where}: a leaf cannot depend on itself")
            continue
        values = wanted if isinstance(wanted, list) else [wanted]
        try:
            conditions.append((other, tuple(check(other, value, where) for value in values)))
        except ConfigurationError as error:
            problems.append(str(error))
    return tuple(conditions), problems


def _name_problems(
    experiment: Experiment, fields: Mapping[str, Any], fixed: Mapping[str, Any]
) -> list[str]:
    """Models and datasets that nobody registers, nor the modules that it imports; their options.

    Args:
        fields: that it sets, as far as they are right.
        fixed: these and those from elsewhere.
    """
    problems = import_problems(fields.get("imports", []), f"{experiment.place}.model.imports")
    if problems:
        return problems
    for name, path in NAMED.items():
        where = ".".join((experiment.place, *path))
        if domain := experiment.domains.get(name):
            problems += name_problems(name, domain.values, f"{where}.{domain.kind}")
            continue
        if name in fields:
            problems += name_problems(name, [fields[name]], where)
        if not name_problems(name, [value_of(fixed, name)], where):
            problems += option_problems(name, value_of(fixed, name), fixed, experiment.place)
    return problems


def _condition_problems(experiment: Experiment) -> list[str]:
    """Conditions that the file itself lets never hold; what is set above it may well do so."""
    above = fields_above(experiment.overrides)
    fixed = fields_of(
        fill(experiment.content, experiment.domains, {}),
        experiment.place,
        experiment.base,
        experiment.overrides,
    )
    problems = []
    for domain in experiment.domains.values():
        where = ".".join(map(str, (experiment.place, *domain.path)))
        for name, wanted in domain.when:
            parent = experiment.domains.get(name)
            if name in above or (name == "loss_type" and parent is None):
                continue  # a loss may follow from the model
            possible = any(
                parent.holds(v) if parent else value_of(fixed, name) == v for v in wanted
            )
            if not possible and not (parent and value_of(fixed, name) in wanted):
                there = str(parent) if parent else repr(value_of(fixed, name))
                problems.append(
                    f"{where}.when: can never hold, {name} is {there}, never one of {list(wanted)}"
                )
    return problems


def _ordered(domains: Mapping[str, Domain], place: str) -> dict[str, Domain]:
    """Those first that the conditions of others ask for."""
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
            raise ConfigurationError(f"{place}: the conditions of {names} go round in a circle")
        ordered |= {name: waiting.pop(name) for name in ready}
    return ordered
