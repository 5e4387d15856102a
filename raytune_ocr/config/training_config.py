"""`TrainingConfig`: every setting of a training run, flat, with its rule in one place.

A setting has one spelling from the YAML to the optimizer and back into the results. Types are
checked before ranges, and all problems are reported at once.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raytune_ocr.config.environment import environment_overrides
from raytune_ocr.config.metrics import KHMER_DIGITS, mode_of
from raytune_ocr.config.rules import CHANGEABLE, RULES, check
from raytune_ocr.config.yaml_files import _StrictLoader, load_yaml, to_yaml
from raytune_ocr.errors import (
    ConfigurationError,
    ConfigurationNotFoundError,
    ConfigurationSyntaxError,
)
from raytune_ocr.files import replacing
from raytune_ocr.vocabulary import SEQUENCE_LENGTH, VOCAB_SIZE

DEFAULT_METADATA_PATH = "generated_data/metadata.yaml"
DEFAULT_MODEL_CONFIG_PATH = "config/model_config.yaml"

ATTENTION_PRESETS = ("small", "medium", "large")


@dataclass
class TrainingConfig:
    """Settings of one training run; `validate` holds the rules, `RULES` lists them.

    Units: `learning_rate`, `min_lr` per optimizer step; every `*_epochs`, `patience`, `step_size`
    and `early_stopping_patience` in epochs; `gradient_clip_norm` in L2 norm (0: no clipping);
    `early_stopping_patience` 0 turns early stopping off. Each of `changes` names an epoch after
    which some settings (`CHANGEABLE`) are others, the last ones winning.
    """

    # Model
    model_name: str = "medium"
    model_config_path: str = DEFAULT_MODEL_CONFIG_PATH
    vocab_size: int = VOCAB_SIZE
    max_sequence_length: int = SEQUENCE_LENGTH
    gradient_checkpointing: bool = False
    model_options: dict[str, Any] = field(default_factory=dict)  # keywords of the model itself
    imports: list[str] = field(default_factory=list)  # modules that register models, datasets

    # Data
    dataset_name: str = KHMER_DIGITS
    dataset_options: dict[str, Any] = field(default_factory=dict)  # keywords of the dataset
    metadata_path: str = DEFAULT_METADATA_PATH
    train_split: str = "train"
    val_split: str = "val"
    batch_size: int = 32
    num_workers: int = 4
    pin_memory: bool = False
    augmentation: bool = True

    # Training
    device: str = "auto"
    mixed_precision: bool = False
    num_epochs: int = 40
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    gradient_clip_norm: float = 1.0
    gradient_accumulation_steps: int = 1
    ema_decay: float = 0.0  # of the moving average of weights, which is then what is measured
    log_every_n_steps: int = 25
    save_every_n_epochs: int = 5
    keep_n_checkpoints: int = 3
    use_tensorboard: bool = True
    debug_mode: bool = False
    seed: int = 0
    changes: list[dict[str, Any]] = field(default_factory=list)  # in mid-training, see `after`

    # Loss
    loss_type: str = "crossentropy"
    label_smoothing: float = 0.0
    focal_gamma: float = 2.0
    focal_alpha: float = 0.25
    ctc_weight: float = 0.5  # of the auxiliary CTC loss on an attention reader's encoder

    # Optimizer
    optimizer_type: str = "adam"
    optimizer_betas: list[float] = field(default_factory=lambda: [0.9, 0.999])

    # Learning-rate schedule
    scheduler_type: str = "steplr"
    warmup_epochs: int = 0
    min_lr: float = 1e-6
    step_size: int = 10
    gamma: float = 0.5
    patience: int = 5
    factor: float = 0.5

    # Early stopping
    early_stopping_patience: int = 10
    early_stopping_min_delta: float = 1e-4
    early_stopping_monitor: str = "val_char_accuracy"
    early_stopping_mode: str = ""  # default: `mode_of` the monitor

    # Output
    experiment_name: str = "hyperparameter_experiment"
    output_dir: str = "training_output"

    def __post_init__(self) -> None:
        if self.early_stopping_mode == "":
            self.early_stopping_mode = mode_of(str(self.early_stopping_monitor))
        self.validate()

    def validate(self, place_of: Callable[[str], str] = str) -> None:
        """Check every field; call it again after fields were assigned.

        Args:
            place_of: where a field of that name was written, for the messages.

        Raises:
            ConfigurationError: with all broken rules, one a line.
        """
        problems = []
        for name in RULES:
            try:
                setattr(self, name, check(name, getattr(self, name), place_of(name)))
            except ConfigurationError as error:
                problems.append(str(error))
        if not problems:
            problems = self._broken_combinations(place_of)
        if problems:
            raise ConfigurationError("\n".join(problems))

    def _broken_combinations(self, place_of: Callable[[str], str]) -> list[str]:
        """Rules that tie two fields together."""
        problems = []
        reads_by_ctc = self.model_name.startswith("ctc")
        if reads_by_ctc and self.loss_type != "ctc":
            problems.append(
                f"{place_of('loss_type')}: must be ctc for the model {self.model_name!r}, "
                f"got {self.loss_type!r}"
            )
        attends = self.model_name in ATTENTION_PRESETS
        if attends and self.ctc_weight == 0:
            problems.append(
                f"{place_of('ctc_weight')}: must be > 0 for the model {self.model_name!r}, whose "
                "positions find their digits through its CTC head, got 0"
            )
        if self.loss_type == "ctc" and attends:
            problems.append(
                f"{place_of('loss_type')}: ctc needs a CTC model (ctc_small, ctc_medium), "
                f"got the model {self.model_name!r}"
            )
        rates = [self.learning_rate, *(c.get("learning_rate", math.inf) for c in self.changes)]
        if self.min_lr > min(rates):
            problems.append(
                f"{place_of('min_lr')}: must not exceed learning_rate ({min(rates):g}), "
                f"got {self.min_lr:g}"
            )
        return problems

    def best_of(self, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """The best of the epochs that `rows` tell of: the one that is kept and ranked.

        It is the best by `early_stopping_monitor`; of equals, as there are many where validation
        knows no more errors, the one with the lowest `val_loss`, and of those the first. Empty if
        none has a monitored figure.
        """
        sign = 1 if self.early_stopping_mode == "max" else -1

        def merit(row: Mapping[str, Any]) -> tuple[float, float]:
            loss = row.get("val_loss", math.nan)
            return sign * row[self.early_stopping_monitor], -math.inf if loss != loss else -loss

        known = [r for r in rows if not math.isnan(r.get(self.early_stopping_monitor, math.nan))]
        return max(known, key=merit, default={})

    def after(self, epochs: int) -> TrainingConfig:
        """The settings that hold once so many epochs are done: `changes` up to there are made."""
        made = [change for change in self.changes if change["after_epoch"] <= epochs]
        now = {name: c[name] for c in made for name in CHANGEABLE if name in c}
        return dataclasses.replace(self, **now)

    def to_dict(self) -> dict[str, Any]:
        """Every field by name, as plain Python values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(
        cls, config_dict: Mapping[str, Any], *, environment: Mapping[str, str] | None = None
    ) -> TrainingConfig:
        """A checked config; fields that are absent keep their defaults.

        `RAYTUNE_OCR_<FIELD>` variables of `environment` (default: the process's own) override.

        Raises:
            ConfigurationError: naming every unknown field and broken rule.
        """
        values = {**config_dict, **environment_overrides(environment)}
        problems = []
        for name, value in values.items():
            try:
                check(name, value)
            except ConfigurationError as error:
                problems.append(str(error))
        if problems:
            raise ConfigurationError("\n".join(problems))
        return cls(**values)

    def save_yaml(self, path: str | os.PathLike[str]) -> None:
        """Write the config; the file appears whole or not at all."""
        with replacing(path) as aside:
            aside.write_text(to_yaml(self.to_dict()), encoding="utf-8")

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str]) -> TrainingConfig:
        """Read a flat YAML of fields.

        Raises:
            ConfigurationNotFoundError, ConfigurationSyntaxError, ConfigurationError.
        """
        try:
            return cls.from_dict(load_yaml(path))
        except (ConfigurationNotFoundError, ConfigurationSyntaxError):
            raise
        except ConfigurationError as error:
            lines = "\n".join(f"{path}: {line}" for line in str(error).splitlines())
            raise ConfigurationError(lines) from None


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)
_StrictLoader.add_constructor(
    "tag:yaml.org,2002:python/tuple",
    lambda loader, node: loader.construct_sequence(node),  # type: ignore[arg-type]
)


def with_half_the_batch(config: TrainingConfig) -> TrainingConfig:
    """The same effective batch in half the memory; an odd batch is rounded up."""
    return dataclasses.replace(
        config,
        batch_size=(config.batch_size + 1) // 2,
        gradient_accumulation_steps=2 * config.gradient_accumulation_steps,
    )


def data_key(config: TrainingConfig) -> str:
    """The same for experiments that can share a dataset in memory."""
    names = ("dataset_name", "dataset_options", "metadata_path", "train_split", "val_split")
    return json.dumps([getattr(config, name) for name in names], sort_keys=True, default=str)
