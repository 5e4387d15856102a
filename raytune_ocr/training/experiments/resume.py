"""Which settings a resumed or forked experiment keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raytune_ocr.config.changes import CHANGEABLE
from raytune_ocr.config.metrics import ANY, KHMER_DIGITS, monitors_of
from raytune_ocr.config.training_config import TrainingConfig, with_derived
from raytune_ocr.errors import ConfigurationError, unknown_name

FIXED_BY_STATE = (
    *("model_name", "model_options", "model_config_path", "vocab_size", "max_sequence_length"),
    *("dataset_name", "optimizer_type", "optimizer_betas", "scheduler_type", "factor", "patience"),
    "early_stopping_monitor",
)
"""Settings that a saved state depends on; a resume cannot change them."""


DIGIT_METRICS = ("char_accuracy", "seq_accuracy", "cer", "edit_distance")
"""Metrics of readers of digits, beside those of every model."""


FOLDER_KEYS = ("parent", "reapply_transforms")
"""Keys of an experiment's config file that are no settings."""


def create_config(settings: dict[str, Any], before: dict[str, Any]) -> TrainingConfig:
    """The config of `settings`, with those of an earlier experiment as defaults."""
    known = {name: value for name, value in before.items() if name not in FOLDER_KEYS}
    values = {"early_stopping_patience": 0, **known, **settings}
    dataset = values.get("dataset_name", KHMER_DIGITS)
    if dataset != known.get("dataset_name", dataset):  # it may report other metrics
        values.pop("early_stopping_monitor", None)
        values |= settings
    values = with_derived(values)
    monitors = monitors_of(values)
    monitor = values.setdefault("early_stopping_monitor", monitors[0])
    if monitors is not ANY and monitor not in reported_metrics(dataset):
        problem = unknown_name("metric", monitor, reported_metrics(dataset))
        raise ConfigurationError(f"early_stopping_monitor: {problem}")
    if monitor != known.get("early_stopping_monitor") and "early_stopping_mode" not in settings:
        values.pop("early_stopping_mode", None)  # it was that of another metric
    return TrainingConfig.from_dict(values, environment={})  # `settings` hold its variables


def reported_metrics(dataset: str) -> list[str]:
    """Metrics of each epoch on that dataset."""
    names = ["accuracy", "loss", *(DIGIT_METRICS if dataset == KHMER_DIGITS else ())]
    return [f"{split}_{name}" for split in ("val", "train") for name in names]


def resumed_settings(
    settings: Mapping[str, Any], before: TrainingConfig, epochs: int
) -> dict[str, Any]:
    """The settings with which an experiment is resumed after `epochs` epochs.

    Settings that can change during training become one of its `changes`; after 0 epochs, all hold
    from the start.

    Raises:
        ConfigurationError: for another value of a setting that the state depends on.
    """
    if epochs == 0:
        return dict(settings)
    now = vars(before.after(epochs))
    other = {name: value for name, value in settings.items() if value != now[name]}
    of_schedule = ("early_stopping_mode",) if before.scheduler_type == "plateau" else ()
    for name in (*FIXED_BY_STATE, *of_schedule):
        if name in other:
            raise ConfigurationError(
                f"{name}: must stay {now[name]!r}, because the saved state depends on it, got "
                f"{other[name]!r}; use --fork to start a new experiment with the weights"
            )
    kept = {name: value for name, value in settings.items() if name not in CHANGEABLE}
    changed = {name: other[name] for name in CHANGEABLE if name in other}
    if not changed:
        return kept
    changes = {change["after_epoch"]: change for change in before.changes}
    changes[epochs] = {**changes.get(epochs, {}), "after_epoch": epochs, **changed}
    return {"changes": [changes[after] for after in sorted(changes)], **kept}


def forked_settings(before: dict[str, Any], epochs: int) -> dict[str, Any]:
    """The settings that a fork takes from an experiment of `epochs` epochs, without its `changes`.

    Those made by then are in the settings; later ones do not happen in the fork.
    """
    if not before.get("changes"):
        return before
    now = vars(create_config({}, before).after(epochs))
    return {**before, **{name: now[name] for name in CHANGEABLE}, "changes": []}
