"""Read a YAML of experiments into a checked space of trials, without Ray."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from raytune_ocr.config.environment import ENVIRONMENT_PREFIX, environment_overrides
from raytune_ocr.config.metrics import ANY, known_mode, monitors_of
from raytune_ocr.config.prices import Prices, parse_prices
from raytune_ocr.config.rules import shown
from raytune_ocr.config.settings import OWN, SECTIONS, check
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.config.yaml_files import YamlDocument, load_document
from raytune_ocr.errors import (
    ConfigurationError,
    MissingKeyError,
    unknown_name,
)
from raytune_ocr.tasks.registry import target_keys
from raytune_ocr.tune.option_rules import goal_rule
from raytune_ocr.tune.options import read_tuning
from raytune_ocr.tune.space.experiment import Experiment, Point
from raytune_ocr.tune.space.experiment_parser import DEFAULT_SAMPLES, read_experiment
from raytune_ocr.tune.space.registered_names import (
    NAMED,
    import_problems,
    name_problems,
    task_problems,
)
from raytune_ocr.tune.space.sections import settings_in, with_derived
from raytune_ocr.tune.space.shipped_spaces import find_space

SHARED = (*SECTIONS[OWN], *filter(None, SECTIONS), "resources", "num_samples")
"""Keys of an experiment that may stand at the top of a file, for all of its experiments.

A section with an anchor is a merge source instead.
"""

KEYS = ("experiments", "targets", "tuning", "prices", *SHARED)
"""Known top-level keys of a file."""

OF_THE_RUN = {
    "output_dir": "because all trials of a run are in its folder; name that with --output-dir",
    "experiment_name": "because each trial needs a different name; it is the experiment's key "
    "under experiments: in the YAML",
}
"""Fields that cannot have one value for all trials, and where they come from."""


@dataclass(frozen=True)
class Space:
    """A parsed file.

    Attributes:
        experiments: by name, in the file's order.
        targets: goals by name.
        seed: for random draws.
        tuning: options of the run, by name.
        prices: of machines; None: it names none.
        place: the file's name, for messages.
        shared: what the file says for all of its experiments.
        overrides: fields that the caller sets in every experiment.
    """

    experiments: dict[str, Experiment]
    targets: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    tuning: dict[str, Any] = field(default_factory=dict)
    place: str = "config"
    prices: Prices | None = None
    shared: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def points(self) -> dict[str, list[Point]]:
        """The trials of each experiment, those of searched ones drawn at random.

        Raises:
            ConfigurationError: an experiment has no valid trial, or two trials share a name.
        """
        points: dict[str, list[Point]] = {}
        problems = []
        seen: dict[str, tuple[str, str]] = {}  # a trial and its experiment
        for name, experiment in self.experiments.items():
            try:
                points[name] = list(experiment.points(self.seed))
            except ConfigurationError as error:
                problems.append(str(error))
                continue
            doubled = (p.name for p in points[name] if p.name.casefold() in seen)
            if one := next(doubled, None):
                problems.append(_doubled(experiment.place, one, *seen[one.casefold()]))
            seen |= {p.name.casefold(): (p.name, name) for p in points[name]}
        if problems:
            raise ConfigurationError("\n".join(problems))
        return points

    def only(self, names: Sequence[str] | None) -> Space:
        """Return the space of these experiments, in their order; None: all.

        Raises:
            MissingKeyError: an unknown name; lists the known ones.
        """
        if not names:
            return self
        _check_names(names, self.experiments, self.place)
        chosen = {name: self.experiments[name] for name in dict.fromkeys(names)}
        return replace(self, experiments=chosen)

    @property
    def shortfalls(self) -> list[str]:
        """Lines about searches with fewer distinct trials than num_samples."""
        return [
            f"{name}: {len(points)} trials instead of {self.experiments[name].size}: its domains "
            "have no more distinct values"
            for name, points in self.points.items()
            if len(points) < self.experiments[name].size
        ]

    @property
    def imports(self) -> list[str]:
        """Modules that the file or the caller names, without duplicates."""
        named = (experiment.imports for experiment in self.experiments.values())
        return list(dict.fromkeys(itertools.chain.from_iterable(named)))

    @property
    def configs(self) -> dict[str, TrainingConfig]:
        """Return the config of every trial of `points`, by name."""
        return {point.name: point.config for points in self.points.values() for point in points}


def _doubled(place: str, trial: str, other: str, experiment: str) -> str:
    """Return the problem of two trials that would share a folder."""
    if trial == other:
        same = f"its trial {trial} has the name of a trial of {experiment}"
        return f"{place}: {same}; rename one of them"
    return (
        f"{place}: its trial {trial} must differ from the trial {other} of {experiment} in more "
        "than upper and lower case, because some file systems have one folder for both names"
    )


def read_space(
    content: Mapping[str, Any],
    place: str = "config",
    overrides: Mapping[str, Any] | None = None,
    names: Sequence[str] | None = None,
    output_dir: str | None = None,
    num_samples: int | None = None,
) -> Space:
    """Parse a loaded YAML as a whole.

    Args:
        content: from `load_yaml`.
        place: the file's name, for messages.
        overrides: fields of `TrainingConfig` to set in every experiment.
        names: experiments to take (default: all, in the file's order).
        output_dir: where their folders go.
        num_samples: of every searched experiment that draws, whatever the file says.

    Raises:
        ConfigurationError: with all problems, one a line.
    """
    shared = _shared_in(content)
    problems = _foreign_keys(content, place) + _override_problems(overrides or {})
    content = with_shared(content)
    written = _experiments_in(content, place)
    tuning, faults = read_tuning(content.get("tuning"), f"{place}: tuning")
    targets, target_problems = _targets(content.get("targets"), place)
    prices, price_problems = parse_prices(content.get("prices"), f"{place}: prices")
    problems = faults + target_problems + price_problems + problems
    default_samples = tuning.get("num_samples", DEFAULT_SAMPLES)
    base = {} if output_dir is None else {"output_dir": output_dir}
    experiments: dict[str, Experiment] = {}
    for name, experiment in written.items():
        where = f"{place}: experiments.{name}"
        try:
            check("experiment_name", name, where)
            experiments[name] = read_experiment(
                name, experiment, where, base, overrides, num_samples, default_samples
            )
        except ConfigurationError as error:
            problems.append(str(error))
    if targets:
        problems += goal_problems(
            targets, target_keys(), experiments.values(), f"{place}: targets."
        )
    seed = (overrides or {}).get("seed", 0)
    space = Space(experiments, targets, seed, tuning, place, prices, shared, overrides or {})
    try:
        space.points  # noqa: B018  (draw once, to find invalid combinations)
        _check_names(names, written, place)
    except ConfigurationError as error:
        problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return space.only(names)


def _experiments_in(content: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    """Return the experiments of a file; raise if there is none."""
    if "experiments" not in content:
        raise MissingKeyError(
            f"{place}: experiments: must be a mapping of at least one experiment, got a file with "
            f"the keys {', '.join(map(str, content)) or '(none)'}"
        )
    written = content["experiments"]
    if not isinstance(written, Mapping) or not written:
        raise ConfigurationError(
            f"{place}: experiments: must be a mapping of at least one experiment, got "
            f"{shown(written)}"
        )
    return written


def _override_problems(overrides: Mapping[str, Any]) -> list[str]:
    """Return problems of fields from outside the file, besides their types."""
    problems = import_problems(with_derived(overrides).get("imports", []), "--import")
    problems += [] if problems else task_problems(overrides, "")
    places = {name: f"{ENVIRONMENT_PREFIX}{name.upper()}" for name in environment_overrides()}
    fixed = {**environment_overrides(), **overrides}
    for name in NAMED.keys() & fixed.keys():
        place = f"--set {name}" if name in overrides else places[name]
        problems += name_problems(name, [fixed[name]], place)
    for name in OF_THE_RUN.keys() & fixed.keys():
        place = f"--set {name}" if name in overrides else places[name]
        problems.append(f"{place}: must not be set, {OF_THE_RUN[name]}, got {fixed[name]!r}")
    return problems


def _check_names(names: Sequence[str] | None, known: Iterable[Any], place: str) -> None:
    """Raise MissingKeyError for names of no experiment."""
    there = list(map(str, known))
    problems = [
        f"{place}: {unknown_name('experiment', name, there)}"
        for name in names or []
        if name not in there
    ]
    if problems:
        raise MissingKeyError("\n".join(problems))


def _targets(content: Any, place: str) -> tuple[dict[str, float], list[str]]:
    if content is None:
        return {}, []
    if not isinstance(content, Mapping):
        return {}, [f"{place}: targets: must be a mapping, got {shown(content)}"]
    problems = []
    targets = {}
    for key, value in content.items():
        path = f"{place}: targets.{key}"
        try:
            targets[str(key)] = goal_rule(str(key)).read(value, path)
        except ConfigurationError as error:
            problems.append(str(error))
    return targets, problems


def goal_problems(
    names: Iterable[str], known: Iterable[str], experiments: Iterable[Experiment], place: str
) -> list[str]:
    """Goals of metrics that no experiment reports, or with a direction that nothing tells.

    Args:
        known: goals of the tasks with fixed metrics; a task of one's own may report any.
        place: comes before a name, for messages.
    """
    own = [e for e in experiments if monitors_of(with_derived(e.fields)) is ANY]
    followed = [e.fields.get("early_stopping_monitor") for e in own]
    problems = []
    for name in names:
        if name not in known and not own:
            problems.append(f"{place}{name}: {unknown_name('target', name, known)}")
        elif name not in known and not known_mode(name) and name not in followed:
            problems.append(
                f"{place}{name}: its name does not tell whether lower or higher is better; say so "
                f"in metric: {{name: {name}, mode: max}} (or min)"
            )
    return problems


def _foreign_keys(content: Mapping[str, Any], place: str) -> list[str]:
    """Return a problem for each top-level key that is neither known nor a merge source."""
    anchored = content.anchored if isinstance(content, YamlDocument) else content.keys()
    return [
        f"{place}: {unknown_name('key', key, KEYS)} (other top-level keys must be mappings with "
        "anchors that experiments merge from)"
        for key, value in content.items()
        if key not in KEYS and not (isinstance(value, Mapping) and key in anchored)
    ]


def with_shared(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a file's content with its `SHARED` keys in every experiment, which may override them.

    A file with a function or a task and no experiments has one, named after that.
    """
    shared = _shared_in(content)
    named = str(shared.get("trainable") or shared.get("task") or "").rpartition(":")[2]
    alone: dict[str, Any] = {"experiments": {named: {}}} if named else {}
    whole = {**alone, **content}
    experiments = whole.get("experiments")
    if not shared or not isinstance(experiments, Mapping):
        return whole
    return {**whole, "experiments": {n: _over(shared, e) for n, e in experiments.items()}}


def _shared_in(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file's top has for all of its experiments."""
    sources = merge_sources(content)
    return {k: content[k] for k in SHARED if content.get(k) is not None and k not in sources}


def _over(shared: Mapping[str, Any], experiment: Any) -> Any:
    """An experiment over what all share; mappings are joined key by key.

    A setting that may stand in two sections is the experiment's, in whichever it has it.
    """
    if not isinstance(experiment, Mapping | None):
        return experiment
    own = dict(experiment or {})
    settings = settings_in(own)
    for key, value in shared.items():
        if key in SECTIONS and isinstance(value, Mapping):
            value = {k: v for k, v in value.items() if SECTIONS[key].get(k) not in settings}
        if isinstance(value, Mapping) and isinstance(own.get(key), Mapping):
            own[key] = {**value, **own[key]}
        else:
            own.setdefault(key, value)
    return own


def merge_sources(content: Mapping[str, Any]) -> list[str]:
    """Return the top-level keys that only have parts for experiments to merge.

    A section is one if it has an anchor, which only the content of a file tells.
    """
    anchored = content.anchored if isinstance(content, YamlDocument) else frozenset()
    return [str(k) for k in content if k not in KEYS or (k in anchored and SECTIONS.get(k))]


def load_space(path: str | os.PathLike[str], **options: Any) -> Space:
    """Parse a file, or the shipped space of that name; options as in `read_space`."""
    file = find_space(path)
    return read_space(load_document(file), str(file), **options)
