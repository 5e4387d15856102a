"""Read the sections of one experiment into checked fields, without domains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raytune_ocr.config.environment import environment_overrides
from raytune_ocr.config.metrics import ANY, known_mode, monitors_of
from raytune_ocr.config.rules import shown
from raytune_ocr.config.settings import OWN, SECTIONS, check, path_of
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.config.training_config import with_derived as with_derived_parts
from raytune_ocr.errors import ConfigurationError, unknown_name

OWN_KEYS = ("experiment_name", "num_samples", "resources")
"""Keys of an experiment that are not sections."""


def create_training_config(experiment_config: Mapping[str, Any]) -> TrainingConfig:
    """Return the config of one experiment, given as its sections (`training`, `model`, ...).

    `RAYTUNE_OCR_<SETTING>` variables override it.

    Raises:
        ConfigurationError: with all problems, one a line.
    """
    fields, problems = read_sections(in_sections(experiment_config), "experiment")
    if isinstance(experiment_config, Mapping) and "experiment_name" in experiment_config:
        name = experiment_config["experiment_name"]
        try:
            fields["experiment_name"] = check("experiment_name", name, "experiment.experiment_name")
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return create_config(combined(fields, environment_overrides()), "experiment")


def in_sections(experiment: Any) -> Any:
    """Return an experiment with the settings that stand in itself as a section of their own."""
    if not isinstance(experiment, Mapping):
        return experiment
    own = {key: value for key, value in experiment.items() if key in SECTIONS[OWN]}
    return {**{key: v for key, v in experiment.items() if key not in own}, OWN: own}


def settings_in(experiment: Mapping[str, Any]) -> set[str]:
    """Return the settings that an experiment's sections and own keys have."""
    return {
        names[key]
        for section, names in SECTIONS.items()
        for content in [experiment if section == OWN else experiment.get(section)]
        if isinstance(content, Mapping)
        for key in content
        if key in names
    }


def dotted(*path: Any) -> str:
    """Return a path in the file; the section of own keys has no name."""
    return ".".join(str(key) for key in path if key != OWN)


def read_sections(experiment: Any, where: str) -> tuple[dict[str, Any], list[str]]:
    """Return the checked fields of an experiment's sections, and their problems.

    Args:
        experiment: what `in_sections` gave.
        where: the path of the experiment, for messages.
    """
    if not isinstance(experiment, Mapping):
        return {}, [f"{where}: must be a mapping of sections, got {shown(experiment)}"]
    fields: dict[str, Any] = {}
    known = [*SECTIONS, *SECTIONS[OWN], *OWN_KEYS]
    problems = [
        f"{where}.{key}: {unknown_name('section', key, filter(None, known))}"
        for key in experiment
        if key not in known
    ]
    for section, names in SECTIONS.items():
        content = experiment.get(section)
        if content is None:
            continue
        if not isinstance(content, Mapping):
            problems.append(f"{where}.{section}: must be a mapping, got {shown(content)}")
            continue
        for key, value in content.items():
            path = dotted(where, section, key)
            if key not in names:
                problems.append(f"{path}: {unknown_name('key', key, names)}")
                continue
            try:
                fields[names[key]] = check(names[key], value, path)
            except ConfigurationError as error:
                problems.append(str(error))
    return fields, problems


def combined(
    fields: Mapping[str, Any],
    overrides: Mapping[str, Any],
    base: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return all fields: `overrides` win over `fields`, and these over `base`.

    Modules to import are combined, since the file's modules register the classes that it names. An
    override of the monitor discards the file's mode, which belongs to another metric.
    """
    values = {**(base or {}), **fields, **overrides}
    if "early_stopping_monitor" in overrides and "early_stopping_mode" not in overrides:
        values.pop("early_stopping_mode", None)
    if "imports" in fields and "imports" in overrides:
        values["imports"] = list(dict.fromkeys([*fields["imports"], *overrides["imports"]]))
    return values


def with_derived(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return `fields` with the defaults that follow from other fields."""
    values = with_derived_parts(fields)
    monitor = values.setdefault("early_stopping_monitor", monitors_of(values)[0])
    values.setdefault("early_stopping_mode", known_mode(monitor))
    return values


def create_config(fields: Mapping[str, Any], where: str) -> TrainingConfig:
    """Return the config of checked fields and the defaults that follow from them.

    Args:
        where: the path of the experiment, for messages.

    Raises:
        ConfigurationError: with all problems, one a line.
    """
    if problems := monitor_problems(fields, where):
        raise ConfigurationError("\n".join(problems))
    return TrainingConfig.from_fields(with_derived(fields), lambda name: f"{where}.{path_of(name)}")


def monitor_problems(values: Mapping[str, Any], where: str) -> list[str]:
    """Return the problem of the monitored metric, if one is set."""
    monitors = monitors_of(values)
    monitor = values.get("early_stopping_monitor", monitors[0])
    if monitors is ANY:
        mode = values.get("early_stopping_mode") or known_mode(monitor)
        rule = "must be max or min, since its name does not tell which is better"
        return [] if mode else [f"{where}.metric.mode: {rule}, got none for {monitor!r}"]
    if monitor in monitors:
        return []
    return [f"{where}.early_stopping.monitor: {unknown_name('metric', monitor, monitors)}"]
