"""From a YAML of experiments to checked training configs; nothing here knows Ray."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from raytune_ocr.config.environment import ENVIRONMENT_PREFIX, environment_overrides
from raytune_ocr.config.rules import check
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.config.yaml_files import load_yaml
from raytune_ocr.errors import ConfigurationError, ConfigurationNotFoundError, unknown_name
from raytune_ocr.tasks.registry import target_keys
from raytune_ocr.tune.options import read_tuning
from raytune_ocr.tune.space.experiment import Experiment, Point
from raytune_ocr.tune.space.experiment_parser import DEFAULT_SAMPLES, read_experiment
from raytune_ocr.tune.space.registered_names import NAMED, import_problems, name_problems

KEYS = ("experiments", "targets", "tuning")
"""Keys of a file that have a meaning here."""

OF_THE_RUN = {
    "output_dir": "since all trials of a run are in its own folder; name that by --output-dir",
    "experiment_name": "since each trial needs a name of its own; it is the experiment's key under "
    "experiments: in the YAML",
}
"""Fields of a trial that no one value can be given to, and where they come from."""


@dataclass(frozen=True)
class Space:
    """What a file asks for.

    Attributes:
        experiments: by name, in the file's order.
        targets: goals by name.
        seed: of the random draws.
        tuning: options of the run, by name.
    """

    experiments: dict[str, Experiment]
    targets: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    tuning: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def points(self) -> dict[str, list[Point]]:
        """The trials of each experiment, those of searched ones drawn at random.

        Raises:
            ConfigurationError: when an experiment gives no valid trial, or two share a name.
        """
        points: dict[str, list[Point]] = {}
        problems = []
        seen: dict[str, str] = {}
        for name, experiment in self.experiments.items():
            try:
                points[name] = list(experiment.points(self.seed))
            except ConfigurationError as error:
                problems.append(str(error))
                continue
            doubled = [p.name for p in points[name] if p.name in seen]
            problems += [
                f"{experiment.place}: its trial {one} has the name of one of {seen[one]}"
                for one in doubled[:1]
            ]
            seen |= dict.fromkeys((p.name for p in points[name]), name)
        if problems:
            raise ConfigurationError("\n".join(problems))
        return points

    @property
    def imports(self) -> list[str]:
        """Modules that the file or the caller names, each once."""
        named = (experiment.imports for experiment in self.experiments.values())
        return list(dict.fromkeys(itertools.chain.from_iterable(named)))

    @property
    def configs(self) -> dict[str, TrainingConfig]:
        """The config of every trial of `points`, by the trial's name."""
        return {point.name: point.config for points in self.points.values() for point in points}


def find_space(name: str | os.PathLike[str]) -> Path:
    """The file of that path, or the shipped space of that name (`full`, `presets`, `smoke`).

    Raises:
        ConfigurationNotFoundError: naming the shipped spaces.
    """
    path = Path(name)
    try:
        if path.is_file():
            return path
    except (OSError, ValueError) as error:  # too long, or a NUL in it
        raise ConfigurationNotFoundError(f"{name!r}: no file can have this name: {error}") from None
    shipped = shipped_spaces()
    if str(name) in shipped:
        return shipped[str(name)]
    raise ConfigurationNotFoundError(
        f"{name}: no such configuration file, and {unknown_name('shipped space', name, shipped)}"
    )


def shipped_spaces() -> dict[str, Path]:
    """Search spaces by name: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[2]
    for folder in (package / "search_spaces", package.parent / "search_spaces"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return {}


def read_space(
    content: Mapping[str, Any],
    place: str = "config",
    overrides: Mapping[str, Any] | None = None,
    names: Sequence[str] | None = None,
    output_dir: str | None = None,
    num_samples: int | None = None,
) -> Space:
    """Check a loaded YAML whole.

    Args:
        content: what `load_yaml` gave.
        place: the file's name, for messages.
        overrides: fields of `TrainingConfig` to set in every experiment.
        names: experiments to take (default: all, in the file's order).
        output_dir: where their folders go.
        num_samples: of every searched experiment that draws, whatever the file says.

    Raises:
        ConfigurationError: with all problems, one a line.
    """
    written = content.get("experiments")
    if not isinstance(written, Mapping) or not written:
        raise ConfigurationError(
            f"{place}: experiments: must be a mapping of at least one experiment, got {written!r}"
        )
    tuning, problems = read_tuning(content.get("tuning"), f"{place}: tuning")
    default_samples = tuning.get("num_samples", DEFAULT_SAMPLES)
    problems += _foreign_keys(content, place) + _override_problems(overrides or {})
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
    targets, faults = _targets(content.get("targets") or {}, place)
    problems.extend(faults)
    problems.extend(
        f"{place}: {unknown_name('experiment', name, map(str, written))}"
        for name in names or []
        if name not in written
    )
    seed = (overrides or {}).get("seed", 0)
    try:
        space = Space(experiments, targets, seed, tuning)
        space.points  # noqa: B018  (drawn once, to find what does not fit together)
    except ConfigurationError as error:
        problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    chosen = dict.fromkeys(names) if names else experiments
    return Space({name: experiments[name] for name in chosen}, targets, seed, tuning)


def _override_problems(overrides: Mapping[str, Any]) -> list[str]:
    """What is wrong with fields that come from elsewhere than the file, their types aside."""
    problems = import_problems(overrides.get("imports", []), "--import")
    places = {name: f"{ENVIRONMENT_PREFIX}{name.upper()}" for name in environment_overrides()}
    fixed = {**environment_overrides(), **overrides}
    for name in NAMED.keys() & fixed.keys():
        place = f"--set {name}" if name in overrides else places[name]
        problems += name_problems(name, [fixed[name]], place)
    for name in OF_THE_RUN.keys() & fixed.keys():
        place = f"--set {name}" if name in overrides else places[name]
        problems.append(f"{place}: must not be set, {OF_THE_RUN[name]}, got {fixed[name]!r}")
    return problems


def _targets(content: Any, place: str) -> tuple[dict[str, float], list[str]]:
    if not isinstance(content, Mapping):
        return {}, [f"{place}: targets: must be a mapping, got {content!r}"]
    problems = []
    targets = {}
    for key, value in content.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if key not in (known := target_keys()):
            problems.append(f"{place}: targets.{key}: {unknown_name('target', key, known)}")
        elif not number or not 0 < value < float("inf"):
            problems.append(f"{place}: targets.{key}: must be a number > 0, got {value!r}")
        else:
            targets[key] = float(value)
    return targets, problems


def _foreign_keys(content: Mapping[str, Any], place: str) -> list[str]:
    """Top-level keys that are neither ours nor a home of anchors (a mapping)."""
    return [
        f"{place}: {unknown_name('key', key, KEYS)} (other top-level keys "
        "must be mappings that experiments merge from)"
        for key, value in content.items()
        if key not in KEYS and not isinstance(value, Mapping)
    ]


def anchor_homes(content: Mapping[str, Any]) -> list[str]:
    """Top-level keys that only hold mappings to merge from."""
    return [str(key) for key in content if key not in KEYS]


def load_space(path: str | os.PathLike[str], **options: Any) -> Space:
    """`read_space` of a file or a shipped space's name."""
    file = find_space(path)
    return read_space(load_yaml(file), str(file), **options)
