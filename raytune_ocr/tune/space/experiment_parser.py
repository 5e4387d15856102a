"""Parse an experiment and report all its problems together."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from typing import Any

from raytune_ocr.config.environment import environment_overrides
from raytune_ocr.config.resources import parse_resources
from raytune_ocr.config.rules import integer, shown
from raytune_ocr.config.settings import RULES, SECTIONS, check
from raytune_ocr.errors import ConfigurationError, unknown_name
from raytune_ocr.tune.space.conditions import (
    impossible_conditions,
    in_order_of_conditions,
    parse_conditions,
)
from raytune_ocr.tune.space.domains import (
    KINDS,
    Domain,
    Path,
    find_domains,
    misspelt_domains,
    parse_domain,
)
from raytune_ocr.tune.space.experiment import Experiment, put, value_of
from raytune_ocr.tune.space.registered_names import (
    NAMED,
    import_problems,
    name_problems,
    option_problems,
    task_problems,
)
from raytune_ocr.tune.space.sections import (
    OWN_KEYS,
    combined,
    dotted,
    in_sections,
    monitor_problems,
    read_sections,
    with_derived,
)

DEFAULT_SAMPLES = 10
MOST_TRIALS = 9999
SHORTEST_NAME = "_0001"

RUN_FILES = (
    *(
        "run.lock",
        "run_state.jsonl",
        "ray.log",
        "mlflow.db",
        "mlruns",
        "mlartifacts",
        "wandb",
        "report.html",
        "orders",
    ),
    *("*.csv", "*.json", "*.jsonl", "*.pkl", "*.lock", "*.tmp"),
)
"""Names of files and folders that a run writes into its output folder."""


def read_experiment(
    name: str,
    content: Any,
    place: str,
    base: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    num_samples: int | None = None,
    default_samples: int = DEFAULT_SAMPLES,
) -> Experiment:
    """Parse an experiment.

    Args:
        name: its key in the file.
        content: its sections.
        place: its path in the file, for messages.
        base: fields that the sections override.
        overrides: fields that override the sections, as `RAYTUNE_OCR_<SETTING>` variables do.
        num_samples: overrides the experiment's own.
        default_samples: if neither sets the number.

    Raises:
        ConfigurationError: all problems, one per line.
    """
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"{place}: must be a mapping of sections, got {shown(content)}")
    above = {**environment_overrides(), **(overrides or {})}
    resources, problems = parse_resources(content.get("resources"), f"{place}.resources")
    written = _Written.of(content, place, above)
    problems = _own_key_problems(name, content, place) + problems + written.problems
    experiment = Experiment(
        name,
        place,
        combined(written.fields, above, base),
        written.domains,
        resources=resources,
        base=base or {},
        overrides=above,
    )
    problems += _meaning_problems(experiment, written.fields, bool(problems))
    if problems:
        raise ConfigurationError("\n".join(problems))
    samples = content.get("num_samples")
    drawn = any(domain.kind != "grid" for domain in written.domains.values())
    if samples is not None and samples > 1 and not drawn and not above:
        raise ConfigurationError(
            f"{place}.num_samples: must be 1 or left out if the experiment has only grids, "
            f"because equal trials have equal results, got {samples}"
        )
    wanted = (num_samples or samples or default_samples) if drawn else 1
    ordered = in_order_of_conditions(written.domains, place)
    return _checked_size(replace(experiment, domains=ordered, num_samples=wanted))


def _own_key_problems(name: str, content: Mapping[str, Any], place: str) -> list[str]:
    problems = []
    if any(fnmatch(name.lower(), pattern) for pattern in RUN_FILES):
        problems.append(
            f"{place}: must not be the name of a file of the run ({', '.join(RUN_FILES)}), because "
            f"the trial's folder has the experiment's name, got {name!r}"
        )
    if content.get("experiment_name", name) != name:
        problems.append(
            f"{place}.experiment_name: must equal the experiment's key, "
            f"got {shown(content['experiment_name'])}"
        )
    try:
        if content.get("num_samples") is not None:
            integer(1).read(content["num_samples"], f"{place}.num_samples")
    except ConfigurationError as error:
        problems.append(str(error))
    return problems


def _meaning_problems(
    experiment: Experiment, written: Mapping[str, Any], has_problems: bool
) -> list[str]:
    """Return problems of names, metrics and conditions in well-formed fields."""
    problems = _name_problems(experiment, written)
    if "dataset_name" not in experiment.domains:  # the metrics depend on it
        problems += monitor_problems(experiment.fields, experiment.place)
    if not problems and not has_problems:
        problems += impossible_conditions(experiment)
    return problems


def _checked_size(experiment: Experiment) -> Experiment:
    """Raise ConfigurationError for too many trials or a name that is too long."""
    grids = [domain for domain in experiment.domains.values() if domain.kind == "grid"]
    cells = math.prod(len(grid.values) for grid in grids)
    if cells <= 100 * MOST_TRIALS:  # conditions may leave few of them
        cells = len(experiment.cells)
    if experiment.is_search and cells * experiment.num_samples > MOST_TRIALS:
        raise ConfigurationError(
            f"{experiment.place}: must have at most {MOST_TRIALS} trials, got {cells} combinations "
            f"of grids x {experiment.num_samples} samples = {cells * experiment.num_samples}"
        )
    if experiment.is_search:
        check("experiment_name", experiment.name + SHORTEST_NAME, experiment.place)
    return experiment


@dataclass
class _Written:
    """The parsed sections.

    Attributes:
        fields: constants; a field with domains inside has their first values in lists, and lacks
            them in mappings.
        domains: by field, with their paths.
        problems: of both.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    domains: dict[str, Domain] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, content: Mapping[str, Any], place: str, above: Mapping[str, Any]) -> _Written:
        """Separate the domains of `content` from its constants and check both.

        Args:
            above: fields that override the sections, also their domains.
        """
        written = cls()
        constants = {k: v for k, v in in_sections(content).items() if k not in OWN_KEYS}
        for section in list(constants):  # in the file's order, in which values are drawn
            if section in SECTIONS and isinstance(constants[section], Mapping):
                constants[section] = dict(constants[section])
                written._take_domains(section, constants, place, above)
        written.fields, problems = read_sections(constants, place)
        written.problems = problems + written.problems
        written._remove_searched_parts()
        return written

    def _take_domains(
        self, section: str, constants: dict[str, Any], place: str, above: Mapping[str, Any]
    ) -> None:
        """Move the domains of a section into `domains`; the rest stays in `constants`."""
        for key, value in list(constants[section].items()):
            setting = SECTIONS[section].get(key) if isinstance(key, str) else None
            if setting is not None and RULES[setting].kind is dict:  # any content is allowed
                self.problems += [
                    f"{dotted(place, *path)}: {unknown_name('domain', kind, KINDS)}"
                    for path, kind in misspelt_domains(value, (section, key))
                ]
            found = list(find_domains(value, (section, key)))
            if setting is None or not found:
                continue  # an unknown key is reported with the others
            if setting in above:
                del constants[section][key]
                continue
            template = value
            for path, leaf in found:
                if len(path) > 2:
                    template = put(template, path[2:], _first(leaf))
            for path, leaf in found:
                self._add_domain(setting, path, leaf, template, constants, place)
            if len(found[0][0]) == 2:
                del constants[section][key]
            else:
                constants[section][key] = template

    def _add_domain(
        self,
        setting: str,
        path: Path,
        leaf: Mapping[Any, Any],
        template: Any,
        constants: Mapping[str, Any],
        place: str,
    ) -> None:
        name = ".".join([setting, *map(str, path[2:])])
        where = dotted(place, *path)
        domain, problems = parse_domain(leaf, path, where)
        if not problems:
            domain, problems = _fitted(domain, setting, template, where)
        when, more = parse_conditions(leaf.get("when"), name, f"{where}.when")
        if when and isinstance(path[-1], int):
            more = [f"{where}.when: must not be used inside a list: list items cannot be left out"]
        self.problems += problems + more + _shadowed(path, constants, where)
        self.domains[name] = replace(domain, when=when)

    def _remove_searched_parts(self) -> None:
        """Remove the searched leaves from mappings such as `model_options`."""
        for name, domain in self.domains.items():
            setting, *inner = name.split(".")[0], *domain.path[2:]
            if inner and setting in self.fields:
                self.fields[setting] = _without(self.fields[setting], inner)


def _first(leaf: Mapping[Any, Any]) -> Any:
    """Return the first value of a domain, for checking the rest."""
    values = next((value for key, value in leaf.items() if key != "when"), None)
    return values[0] if isinstance(values, (list, tuple)) and values else None


def _without(content: Any, path: list[Any]) -> Any:
    """Return a copy of nested mappings without the leaf at `path`; leaves of lists stay."""
    key, *inner = path
    changed = copy.copy(content)
    if inner:
        changed[key] = _without(content[key], inner)
    elif isinstance(content, dict):
        del changed[key]
    return changed


def _shadowed(path: Path, sections: Mapping[str, Any], where: str) -> list[str]:
    setting = SECTIONS[path[0]][path[1]]
    later = list(SECTIONS)[list(SECTIONS).index(path[0]) + 1 :]
    return [
        f"{where}: has no effect, {section}.{key} sets the same"
        for section in later
        for key, other in SECTIONS[section].items()
        if other == setting and isinstance(sections.get(section), Mapping)
        if key in sections[section]
    ]


def _fitted(domain: Domain, setting: str, template: Any, where: str) -> tuple[Domain, list[str]]:
    """Return the domain with values of the setting's type, and the values that break its rule."""
    whole = len(domain.path) == 2
    place = f"{where}.{domain.kind}"
    problems: list[str] = []

    def fit(value: Any) -> Any:
        try:
            if whole:
                return check(setting, value, place)
            check(setting, put(template, domain.path[2:], value), place)
        except ConfigurationError as error:
            problems.append(str(error))
        return value

    if whole and RULES[setting].kind is int and domain.kind in ("uniform", "loguniform"):
        return domain, [
            f"{place}: draws fractions, but {setting} is an integer; use randint or quniform"
        ]
    if domain.is_list:
        return replace(domain, values=tuple(map(fit, domain.values))), problems
    bounds = tuple(map(fit, domain.values[:2]))
    if domain.kind == "randint":
        bounds = domain.values  # integers, whatever type the setting has
    fitted = replace(domain, values=(*bounds, *domain.values[2:]))
    if domain.kind == "quniform" and not problems:
        fit(fitted.at_step(1))
    return fitted, problems


def _name_problems(experiment: Experiment, written: Mapping[str, Any]) -> list[str]:
    """Return problems of models, datasets, their options, and modules to import.

    Args:
        written: the valid fields of the file.
    """
    imports = with_derived(written).get("imports", [])
    if problems := import_problems(imports, f"{experiment.place}.model.imports"):
        return problems
    problems += task_problems(written, experiment.place)
    for name, path in NAMED.items():
        where = ".".join((experiment.place, *path))
        if domain := experiment.domains.get(name):
            problems += name_problems(name, domain.values, f"{where}.{domain.kind}")
            continue
        if name in written:
            problems += name_problems(name, [written[name]], where)
        chosen = value_of(experiment.fields, name)
        if not name_problems(name, [chosen], where):
            options = {**experiment.fields, **_searched_options(experiment)}
            problems += option_problems(name, chosen, options, experiment.place)
    return problems


def _searched_options(experiment: Experiment) -> dict[str, Any]:
    """Return `model_options` and `dataset_options` with a value of each domain in them."""
    firsts = {
        name: domain.values[0]
        for name, domain in experiment.domains.items()
        if "." in name and domain.values and name.split(".")[0] in experiment.fields
    }
    filled = experiment.fields_with(firsts)
    return {setting: filled[setting] for setting in {name.split(".")[0] for name in firsts}}
