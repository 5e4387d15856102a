"""Which settings a resumed or forked experiment keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raytune_ocr.config.metrics import KHMER_DIGITS, monitors_of
from raytune_ocr.config.settings import CHANGEABLE
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError, unknown_name

if TYPE_CHECKING:
    pass


OF_STATE = (
    *("model_name", "model_options", "model_config_path", "vocab_size", "max_sequence_length"),
    *("dataset_name", "optimizer_type", "optimizer_betas", "scheduler_type", "factor", "patience"),
    "early_stopping_monitor",
)
"""What the state of a training is made for; a resume cannot change it."""


OF_DIGITS = ("char_accuracy", "seq_accuracy", "cer", "edit_distance")
"""Figures that are measured of readers besides those of every model."""


OF_FOLDER = ("parent", "reapply_transforms")
"""What an experiment's config file tells besides the settings."""


def create_config(settings: dict[str, Any], before: dict[str, Any]) -> TrainingConfig:
    """The config of `settings` on top of what an earlier experiment was started with."""
    known = {name: value for name, value in before.items() if name not in OF_FOLDER}
    values = {"early_stopping_patience": 0, **known, **settings}
    dataset = values.get("dataset_name", KHMER_DIGITS)
    if dataset != known.get("dataset_name", dataset):  # whose figures are others, maybe
        values.pop("early_stopping_monitor", None)
        values |= settings
    if str(values.get("model_name", "")).startswith("ctc"):
        values.setdefault("loss_type", "ctc")
    monitor = values.setdefault("early_stopping_monitor", monitors_of(values)[0])
    if monitor not in reported(dataset):
        told = unknown_name("metric", monitor, reported(dataset))
        raise ConfigurationError(f"early_stopping_monitor: {told}")
    if monitor != known.get("early_stopping_monitor") and "early_stopping_mode" not in settings:
        values.pop("early_stopping_mode", None)  # it was another figure's
    return TrainingConfig.from_dict(values, environment={})  # `settings` have its variables


def reported(dataset: str) -> list[str]:
    """Figures that are there after each epoch on that dataset."""
    names = ["accuracy", "loss", *(OF_DIGITS if dataset == KHMER_DIGITS else ())]
    return [f"{split}_{name}" for split in ("val", "train") for name in names]


def from_now_on(settings: Mapping[str, Any], before: TrainingConfig, epochs: int) -> dict[str, Any]:
    """`settings` for an experiment that goes on after so many epochs; 0: they hold from the start.

    What can change in mid-training becomes one of its `changes`.

    Raises:
        ConfigurationError: for another value of what the state is made for.
    """
    if epochs == 0:
        return dict(settings)
    now = vars(before.after(epochs))
    other = {name: value for name, value in settings.items() if value != now[name]}
    of_schedule = ("early_stopping_mode",) if before.scheduler_type == "plateau" else ()
    for name in (*OF_STATE, *of_schedule):
        if name in other:
            raise ConfigurationError(
                f"{name}: must stay {now[name]!r}, since the state that is resumed is made for "
                f"that, got {other[name]!r}; --fork begins anew from the weights"
            )
    kept = {name: value for name, value in settings.items() if name not in CHANGEABLE}
    changed = {name: other[name] for name in CHANGEABLE if name in other}
    if not changed:
        return kept
    changes = {change["after_epoch"]: change for change in before.changes}
    changes[epochs] = {**changes.get(epochs, {}), "after_epoch": epochs, **changed}
    return {"changes": [changes[after] for after in sorted(changes)], **kept}


def at_the_end(before: dict[str, Any], epochs: int) -> dict[str, Any]:
    """What a fork takes over from an experiment of so many epochs: its settings by then.

    They hold from the fork's first epoch, and the `changes` that led to them are over.
    """
    if not before.get("changes"):
        return before
    now = vars(create_config({}, before).after(epochs))
    return {**before, **{name: now[name] for name in CHANGEABLE}, "changes": []}
