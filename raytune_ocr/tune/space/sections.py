"""From the sections of one experiment to a checked flat config; nothing here knows domains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raytune_ocr.config.environment import environment_overrides
from raytune_ocr.config.metrics import known_mode, monitors_of
from raytune_ocr.config.rules import check
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError, unknown_name

SECTIONS: dict[str, dict[str, str]] = {
    "model": {
        "name": "model_name",
        "config_path": "model_config_path",
        "vocab_size": "vocab_size",
        "max_sequence_length": "max_sequence_length",
        "gradient_checkpointing": "gradient_checkpointing",
        "options": "model_options",
        "imports": "imports",
    },
    "data": {
        "name": "dataset_name",
        "options": "dataset_options",
        **{
            name: name
            for name in (
                "metadata_path",
                "train_split",
                "val_split",
                "num_workers",
                "pin_memory",
                "augmentation",
            )
        },
    },
    "training": {
        name: name
        for name in (
            "device",
            "mixed_precision",
            "gradient_clip_norm",
            "gradient_accumulation_steps",
            "ema_decay",
            "log_every_n_steps",
            "save_every_n_epochs",
            "keep_n_checkpoints",
            "use_tensorboard",
            "batch_size",
            "learning_rate",
            "weight_decay",
            "num_epochs",
            "loss_type",
            "label_smoothing",
            "focal_gamma",
            "focal_alpha",
            "ctc_weight",
            "seed",
            "changes",
            "debug_mode",
        )
    },
    "optimizer": {
        "type": "optimizer_type",
        "learning_rate": "learning_rate",
        "weight_decay": "weight_decay",
        "betas": "optimizer_betas",
    },
    "scheduler": {
        "type": "scheduler_type",
        **{
            name: name
            for name in ("warmup_epochs", "min_lr", "step_size", "gamma", "patience", "factor")
        },
    },
    "early_stopping": {
        name: f"early_stopping_{name}" for name in ("patience", "min_delta", "monitor", "mode")
    },
}
"""Keys of an experiment's sections, and the field of `TrainingConfig` that each sets.

Later sections win: `optimizer.learning_rate` over `training.learning_rate`.
"""

PLACES = {field: f"{name}.{key}" for name, keys in SECTIONS.items() for key, field in keys.items()}
"""Where an experiment has a field; of two places the one that wins."""

OWN_KEYS = ("experiment_name", "num_samples", "resources")
"""Keys of an experiment that are no sections."""


def create_training_config(experiment_config: Mapping[str, Any]) -> TrainingConfig:
    """The config of one experiment, given as its sections (`training`, `model`, ...).

    Raises:
        ConfigurationError: with all problems, one a line.
    """
    return build_config(experiment_config, "experiment")


def build_config(
    experiment: Any,
    where: str,
    base: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> TrainingConfig:
    """The config of sections without domains.

    Args:
        experiment: the sections.
        where: the experiment's place, for messages.
        base: fields that the sections override.
        overrides: fields that override the sections, and the environment.

    Raises:
        ConfigurationError: with all problems, one a line.
    """
    values = fields_of(experiment, where, base, overrides)
    if problems := monitor_problems(values, where):
        raise ConfigurationError("\n".join(problems))
    config = TrainingConfig()
    for name, value in values.items():
        setattr(config, name, value)
    config.validate(lambda name: f"{where}.{PLACES.get(name, name)}")
    return config


def fields_of(
    experiment: Any,
    where: str,
    base: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The fields that the sections set, with defaults that follow from others."""
    values, problems = flatten(experiment, where)
    if problems:
        raise ConfigurationError("\n".join(problems))
    values = combined(values, base, overrides)
    if str(values.get("model_name", "")).startswith("ctc"):
        values.setdefault("loss_type", "ctc")
    monitor = values.setdefault("early_stopping_monitor", monitors_of(values)[0])
    values.setdefault("early_stopping_mode", known_mode(monitor) or "max")
    return values


def combined(
    fields: Mapping[str, Any],
    base: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Fields by who wins: `overrides`, the environment, the sections' own, `base`.

    Modules to import add up: those that an experiment names register what it names. A monitor that
    is set over the sections takes their mode with it, which was written for another one.
    """
    overrides = overrides or {}
    above = fields_above(overrides)
    values = {**(base or {}), **fields, **above}
    if "early_stopping_monitor" in above and "early_stopping_mode" not in above:
        values.pop("early_stopping_mode", None)
    if "imports" in fields and "imports" in overrides:
        values["imports"] = list(dict.fromkeys([*fields["imports"], *overrides["imports"]]))
    return values


def fields_above(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that win over the sections' own: `overrides`, and the environment."""
    return {**environment_overrides(), **overrides}


def monitor_problems(values: Mapping[str, Any], where: str) -> list[str]:
    """What is wrong with the metric that is to be followed, if one is set."""
    monitors = monitors_of(values)
    monitor = values.get("early_stopping_monitor", monitors[0])
    if monitor in monitors:
        return []
    return [f"{where}.early_stopping.monitor: {unknown_name('metric', monitor, monitors)}"]


def flatten(experiment: Any, where: str) -> tuple[dict[str, Any], list[str]]:
    """Checked fields of an experiment's sections, and what is wrong with them."""
    if not isinstance(experiment, Mapping):
        return {}, [f"{where}: must be a mapping of sections, got {experiment!r}"]
    values: dict[str, Any] = {}
    known = [*SECTIONS, *OWN_KEYS]
    problems = [
        f"{where}.{key}: {unknown_name('section', key, known)}"
        for key in experiment
        if key not in known
    ]
    for section, fields in SECTIONS.items():
        content = experiment.get(section)
        if content is None:
            continue
        if not isinstance(content, Mapping):
            problems.append(f"{where}.{section}: must be a mapping, got {content!r}")
            continue
        for key, value in content.items():
            place = f"{where}.{section}.{key}"
            if key not in fields:
                problems.append(f"{place}: {unknown_name('key', key, fields)}")
                continue
            try:
                values[fields[key]] = check(fields[key], value, place)
            except ConfigurationError as error:
                problems.append(str(error))
    return values, problems
