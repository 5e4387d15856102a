"""An experiment: fixed fields, domains of searched fields, and the trials drawn from them.

A preset is an experiment without domains: one trial, named after it. A searched experiment `name`
has the trials `name_0001`, `name_0002`, ...; each depends only on its number and the seed, so that
the same seed gives the same trials, whatever their number.
"""

from __future__ import annotations

import copy
import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from raytune_ocr.config.resources import NO_RESOURCES, Resources
from raytune_ocr.config.settings import Settings
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.space.domains import Domain
from raytune_ocr.tune.space.sections import create_config, with_derived

ATTEMPTS = 100  # to draw a point that is valid and new
DERIVED = {
    "loss_type": {"model_name"},
    "early_stopping_monitor": {"dataset_name"},
    "early_stopping_mode": {"dataset_name", "early_stopping_monitor"},
}
"""Fields with defaults that `sections.with_derived` derives from other fields."""

Skip = Callable[[TrainingConfig], bool]


@dataclass(frozen=True)
class Point:
    """A trial to be: its config, and its drawn values by field."""

    config: TrainingConfig
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the trial."""
        return self.config.experiment_name


@dataclass(frozen=True)
class Experiment:
    """A parsed and checked experiment.

    Attributes:
        name: its key in the file.
        place: its path in the file, for messages.
        fields: of every trial: the file's, which override `base` and are overridden by `overrides`.
        domains: by field, `model_options.width` for a part of one; dependencies of `when` come
            first.
        num_samples: trials, for each combination of `grid` values.
        resources: of each trial.
        base, overrides: fields that the file overrides, and fields that override the file.
    """

    name: str
    place: str
    fields: Mapping[str, Any]
    domains: Mapping[str, Domain] = field(default_factory=dict)
    num_samples: int = 1
    resources: Resources = NO_RESOURCES
    base: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_search(self) -> bool:
        """Whether it has domains."""
        return bool(self.domains)

    @cached_property
    def cells(self) -> list[dict[str, Any]]:
        """Return all combinations of grid values; a single empty one without grids.

        A combination leaves out a grid if its conditions cannot hold with the others.
        """
        grids = {name: d for name, d in self.domains.items() if d.kind == "grid"}
        rows = itertools.product(*(grid.values for grid in grids.values()))
        cells = [dict(zip(grids, row, strict=True)) for row in rows]
        if not any(grid.when for grid in grids.values()):
            return cells
        there = map(self._reachable, cells)
        return list({key_of(cell): cell for cell in there}.values())

    @property
    def size(self) -> int:
        """Number of trials, or fewer if there are not enough distinct points."""
        return len(self.cells) * self.num_samples if self.is_search else 1

    def trial_name(self, number: int) -> str:
        """Return the name of the trial of that number, from 1."""
        return f"{self.name}_{number:04d}" if self.is_search else self.name

    def values(self, pick: Callable[[str, Domain], Any]) -> dict[str, Any]:
        """Return a value of each domain with conditions that hold; `pick` is called in order."""
        values: dict[str, Any] = {}
        for name, domain in self.domains.items():
            if self._applies(domain, values):
                values[name] = pick(name, domain)
        return values

    def values_among(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return a trial's values of domains with conditions that hold for it."""
        known = {**with_derived(self.fields), **fields}
        return {
            name: fields[name]
            for name, domain in self.domains.items()
            if name in fields
            and all(value_of(known, other) in allowed for other, allowed in domain.when)
        }

    @property
    def imports(self) -> list[str]:
        """Modules that it or the caller names."""
        return list(with_derived(self.fields).get("imports", []))

    def point(self, values: Mapping[str, Any], number: int) -> Point:
        """Return the trial of these values; raise ConfigurationError if they are invalid."""
        fields = {**self.fields_with(values), "experiment_name": self.trial_name(number)}
        return Point(create_config(fields, self.place), values)

    def fields_with(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of every trial with the values of domains in them."""
        fields = dict(self.fields)
        for name, domain in self.domains.items():
            if name in values:
                setting = name.partition(".")[0]
                fields[setting] = put(fields.get(setting), domain.path[2:], values[name])
        return fields

    def points(
        self, seed: int, skip: Skip | None = None, first: Sequence[Mapping[str, Any]] = ()
    ) -> Iterator[Point]:
        """Draw distinct random points, without those of `skip`; always the same ones.

        Args:
            first: values of the first points, as far as they are valid and not of `skip`.

        Raises:
            ConfigurationError: no valid point can be drawn.
        """
        if not self.is_search:
            point = self.point({}, 1)
            if skip is None or not skip(point.config):
                yield point
            return
        seen: set[str] = set()
        cells = self.cells
        for point in self._given(first, skip):
            seen.add(key_of(point.values))
            yield point
        for index in range(len(seen), self.size):
            cell = cells[index % len(cells)]
            rng = random.Random(f"{seed}/{self.name}/{index}")
            drawn = self.draw(rng, len(seen) + 1, seen, skip, cell)
            if drawn is not None:
                seen.add(key_of(drawn.values))
                yield drawn

    def _given(self, first: Sequence[Mapping[str, Any]], skip: Skip | None) -> Iterator[Point]:
        """Yield the valid points of given values, numbered from 1."""
        number = 1
        for values in first:
            try:
                point = self.point(values, number)
            except ConfigurationError:
                continue
            if not (skip and skip(point.config)):
                yield point
                number += 1

    def draw(
        self,
        rng: random.Random,
        number: int,
        seen: set[str],
        skip: Skip | None = None,
        cell: Mapping[str, Any] | None = None,
    ) -> Point | None:
        """Draw a random point that is not in `seen`; None if there seems to be none left.

        Raises:
            ConfigurationError: no valid point can be drawn.
        """
        cell = cell or {}
        fault: ConfigurationError | None = None
        repeats = 0
        for _ in range(ATTEMPTS):
            values = self.values(lambda name, domain: cell.get(name, domain.draw(rng)))
            try:
                point = self.point(values, number)
            except ConfigurationError as error:
                fault = error
            else:
                if key_of(values) not in seen and not (skip and skip(point.config)):
                    return point
                repeats += 1
            if values.keys() <= cell.keys():  # nothing random: a new attempt would be the same
                break
        if fault and not repeats:
            raise ConfigurationError(
                f"{self.place}: could not sample a valid config; the last attempt was "
                f"{dict(values)}:\n{fault}"
            )
        return None

    def _reachable(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        """Return `cell` without the grids that no trial of it can have."""
        values: dict[str, Any] = {}
        drawn: set[str] = set()
        for name, domain in self.domains.items():
            known = tuple(
                (other, allowed)
                for other, allowed in domain.when
                if other not in drawn and (other in values or not drawn & DERIVED.get(other, set()))
            )
            if not self._applies(replace(domain, when=known), values):
                continue
            if name in cell:
                values[name] = cell[name]
            if name not in cell or known != domain.when:
                drawn |= {name, name.split(".")[0]}
        return values

    def _applies(self, domain: Domain, values: Mapping[str, Any]) -> bool:
        if not domain.when:
            return True
        fields = with_derived(self.fields_with(values))
        return all(value_of(fields, name) in allowed for name, allowed in domain.when)


def key_of(values: Mapping[str, Any]) -> str:
    """Return a key that is equal for equal values."""
    return json.dumps(values, sort_keys=True)


_DEFAULTS = vars(Settings())


def value_of(fields: Mapping[str, Any], name: str) -> Any:
    """Return the value of a field or of a part of one, or its default; None: there is none."""
    setting, *inner = name.split(".")
    value = fields[setting] if setting in fields else _DEFAULTS[setting]
    for key in inner:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def put(content: Any, path: Sequence[Any], value: Any) -> Any:
    """Return a copy of nested mappings and lists with `value` as the leaf at `path`."""
    if not path:
        return copy.deepcopy(value)
    key, *inner = path
    changed = copy.copy(content)
    changed[key] = put(
        content.get(key) if isinstance(content, dict) else content[key], inner, value
    )
    return changed
