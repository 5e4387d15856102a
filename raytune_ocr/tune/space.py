"""From a YAML of named presets to checked training configs; nothing here knows Ray."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raytune_ocr.config import (
    CLASSIFIER_MONITOR,
    KHMER_DIGITS,
    TrainingConfig,
    check,
    environment_overrides,
    load_yaml,
)
from raytune_ocr.errors import ConfigurationError, ConfigurationNotFoundError, unknown_name

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

TARGETS = {
    "character_accuracy": "best_val_char_accuracy",
    "sequence_accuracy": "best_val_seq_accuracy",
    "accuracy": "best_val_accuracy",
    "training_time_per_epoch": "train_time_per_epoch",
    "convergence_epochs": "best_epoch",
}
"""Targets, and the figure of a result that each is compared with."""

MONITORS = (
    "val_char_accuracy",
    "val_seq_accuracy",
    "val_cer",
    "val_loss",
    "train_char_accuracy",
    "train_loss",
)
"""What early stopping, the best checkpoint and the plateau schedule may follow."""

CLASSIFIER_MONITORS = (CLASSIFIER_MONITOR, "val_loss", "train_accuracy", "train_loss")
"""The same for datasets other than the digits."""

DOMAINS = ("choice", "uniform", "loguniform", "randint", "grid")

LOWER_IS_BETTER = ("training_time_per_epoch", "convergence_epochs")


@dataclass(frozen=True)
class Space:
    """What a file asks for: configs by experiment name, and targets by name."""

    configs: dict[str, TrainingConfig]
    targets: dict[str, float] = field(default_factory=dict)


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
    package = Path(__file__).parents[1]
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
) -> Space:
    """Check a loaded YAML whole and build its configs.

    Args:
        content: what `load_yaml` gave.
        place: the file's name, for messages.
        overrides: fields of `TrainingConfig` to set in every experiment.
        names: experiments to take (default: all, in the file's order).
        output_dir: where their folders go.

    Raises:
        ConfigurationError: with all problems, one a line.
    """
    experiments = content.get("experiments")
    if not isinstance(experiments, Mapping) or not experiments:
        raise ConfigurationError(
            f"{place}: experiments: must be a mapping of at least one experiment, "
            f"got {experiments!r}"
        )
    problems = _foreign_keys(content, place)
    configs: dict[str, TrainingConfig] = {}
    for name, experiment in experiments.items():
        where = f"{place}: experiments.{name}"
        try:
            check("experiment_name", name, where)
            base = {"experiment_name": name}
            if output_dir is not None:
                base["output_dir"] = output_dir
            configs[name] = _config(experiment, where, base, overrides or {})
        except ConfigurationError as error:
            problems.append(str(error))
    targets, faults = _targets(content.get("targets") or {}, place)
    problems.extend(faults)
    problems.extend(
        f"{place}: {unknown_name('experiment', name, map(str, experiments))}"
        for name in names or []
        if name not in experiments
    )
    if problems:
        raise ConfigurationError("\n".join(problems))
    chosen = dict.fromkeys(names) if names else configs
    return Space({name: configs[name] for name in chosen}, targets)


def create_training_config(experiment_config: Mapping[str, Any]) -> TrainingConfig:
    """The config of one experiment, given as its sections (`training`, `model`, ...).

    Raises:
        ConfigurationError: with all problems, one a line.
    """
    return _config(experiment_config, "experiment", {}, {})


def _config(
    experiment: Any, where: str, base: Mapping[str, Any], overrides: Mapping[str, Any]
) -> TrainingConfig:
    values, problems = _flatten(experiment, where)
    if (
        "experiment_name" in base
        and values.get("experiment_name", base["experiment_name"]) != (base["experiment_name"])
    ):
        problems.append(
            f"{where}.experiment_name: must equal the experiment's key, "
            f"got {values['experiment_name']!r}"
        )
    if problems:
        raise ConfigurationError("\n".join(problems))
    values = {**base, **values, **environment_overrides(), **overrides}
    if str(values.get("model_name", "")).startswith("ctc"):
        values.setdefault("loss_type", "ctc")
    digits = values.get("dataset_name", KHMER_DIGITS) == KHMER_DIGITS
    monitors = MONITORS if digits else CLASSIFIER_MONITORS
    monitor = values.setdefault("early_stopping_monitor", monitors[0])
    if monitor not in monitors:
        place = f"{where}.early_stopping.monitor"
        raise ConfigurationError(f"{place}: {unknown_name('metric', monitor, monitors)}")
    if monitor.endswith(("_loss", "_cer")):
        values.setdefault("early_stopping_mode", "min")
    config = TrainingConfig()
    for name, value in values.items():
        setattr(config, name, value)
    config.validate(place=f"{where}.")
    return config


def _flatten(experiment: Any, where: str) -> tuple[dict[str, Any], list[str]]:
    """Checked fields of an experiment's sections, and what is wrong with them."""
    if not isinstance(experiment, Mapping):
        return {}, [f"{where}: must be a mapping of sections, got {experiment!r}"]
    values: dict[str, Any] = {}
    problems: list[str] = []
    known = [*SECTIONS, "experiment_name"]
    problems.extend(
        f"{where}.{key}: {unknown_name('section', key, known)}"
        for key in experiment
        if key not in known
    )
    if "experiment_name" in experiment:
        values["experiment_name"] = experiment["experiment_name"]
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
            if isinstance(value, Mapping) and set(value) & set(DOMAINS):
                problems.append(
                    f"{place}: must be one value, got the search domain {dict(value)!r}; write an "
                    "experiment for each value to try"
                )
                continue
            try:
                values[fields[key]] = check(fields[key], value, place)
            except ConfigurationError as error:
                problems.append(str(error))
    return values, problems


def _targets(content: Any, place: str) -> tuple[dict[str, float], list[str]]:
    if not isinstance(content, Mapping):
        return {}, [f"{place}: targets: must be a mapping, got {content!r}"]
    problems = []
    targets = {}
    for key, value in content.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if key not in TARGETS:
            problems.append(f"{place}: targets.{key}: {unknown_name('target', key, TARGETS)}")
        elif not number or not 0 < value < float("inf"):
            problems.append(f"{place}: targets.{key}: must be a number > 0, got {value!r}")
        else:
            targets[key] = float(value)
    return targets, problems


def _foreign_keys(content: Mapping[str, Any], place: str) -> list[str]:
    """Top-level keys that are neither ours nor a home of anchors (a mapping)."""
    return [
        f"{place}: {unknown_name('key', key, ['experiments', 'targets'])} (other top-level keys "
        "must be mappings that experiments merge from)"
        for key, value in content.items()
        if key not in ("experiments", "targets") and not isinstance(value, Mapping)
    ]


def anchor_homes(content: Mapping[str, Any]) -> list[str]:
    """Top-level keys that only hold mappings to merge from."""
    return [str(key) for key in content if key not in ("experiments", "targets")]


def load_space(path: str | os.PathLike[str], **options: Any) -> Space:
    """`read_space` of a file or a shipped space's name."""
    file = find_space(path)
    return read_space(load_yaml(file), str(file), **options)
