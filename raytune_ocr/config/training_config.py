"""`TrainingConfig`: every setting of a training run, flat, checked as a whole.

A setting has one spelling from the YAML to the optimizer and back into the results. Types are
checked before ranges, and all problems are reported at once.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from raytune_ocr.config.changes import CHANGEABLE, PARAMETER
from raytune_ocr.config.environment import environment_overrides
from raytune_ocr.config.metrics import ANY, known_mode, mode_of, monitors_of, score_of
from raytune_ocr.config.settings import (
    DEFAULT_METADATA_PATH,
    DEFAULT_MODEL_CONFIG_PATH,
    RULES,
    Settings,
    check,
)
from raytune_ocr.config.yaml_files import load_yaml, to_yaml
from raytune_ocr.errors import (
    ConfigurationError,
    ConfigurationNotFoundError,
    ConfigurationSyntaxError,
    unknown_name,
)
from raytune_ocr.files import replacing

__all__ = ["DEFAULT_METADATA_PATH", "DEFAULT_MODEL_CONFIG_PATH", "TrainingConfig", "data_key"]

ATTENTION_PRESETS = ("small", "medium", "large")

C = TypeVar("C", bound=type)

DATA_FIELDS = ("dataset_name", "dataset_options", "metadata_path", "train_split", "val_split")
"""Settings that say which data a trial reads."""


def _defaults_from_environment(config_class: C) -> C:
    """Make `RAYTUNE_OCR_<SETTING>` variables override defaults in the constructor."""
    constructor = config_class.__init__  # type: ignore[misc]

    @functools.wraps(constructor)
    def construct(self: Any, *values: Any, **named: Any) -> None:
        positional = list(RULES)[: len(values)]
        variables = environment_overrides()
        chosen = {name: v for name, v in variables.items() if name not in positional}
        constructor(self, *values, **{**chosen, **named})

    config_class.__init__ = construct  # type: ignore[misc]
    return config_class


@_defaults_from_environment
@dataclass
class TrainingConfig(Settings):
    """The settings of one training run; `config.settings` documents each and holds its rule.

    Fields that the constructor does not get come from `RAYTUNE_OCR_<SETTING>` variables, else from
    the defaults. Call `validate` after assigning to fields.
    """

    def __post_init__(self) -> None:
        if self.early_stopping_mode == "":
            self.early_stopping_mode = mode_of(str(self.early_stopping_monitor))
        self.validate()

    def validate(self, path_of: Callable[[str], str] = str) -> None:
        """Check every field, then combinations of fields.

        Args:
            path_of: returns the YAML path of a field, for messages.

        Raises:
            ConfigurationError: with all broken rules and unknown attributes, one a line.
        """
        problems = [
            f"{path_of(name)}: {unknown_name('setting', name, RULES)}"
            for name in vars(self)
            if name not in RULES
        ]
        for name in RULES:
            try:
                setattr(self, name, check(name, getattr(self, name), path_of(name)))
            except ConfigurationError as error:
                problems.append(str(error))
        if not problems:
            problems = self._broken_combinations(path_of)
        if problems:
            raise ConfigurationError("\n".join(problems))

    def _broken_combinations(self, path_of: Callable[[str], str]) -> list[str]:
        """Check rules of two fields."""
        problems = []
        attends = self.model_name in ATTENTION_PRESETS
        if needs_ctc(self.model_name) and self.loss_type != "ctc":
            problems.append(
                f"{path_of('loss_type')}: must be ctc for the model {self.model_name!r}, "
                f"got {self.loss_type!r}"
            )
        if attends and self.ctc_weight == 0:
            problems.append(
                f"{path_of('ctc_weight')}: must be > 0 for the model {self.model_name!r}, because "
                "its attention uses the CTC head, got 0"
            )
        if self.loss_type == "ctc" and attends:
            problems.append(
                f"{path_of('loss_type')}: ctc needs a CTC model (ctc_small, ctc_medium), "
                f"got the model {self.model_name!r}"
            )
        rates = [self.learning_rate, *(c.get("learning_rate", math.inf) for c in self.changes)]
        if self.min_lr > min(rates):
            problems.append(
                f"{path_of('min_lr')}: must not exceed learning_rate ({min(rates):g}), "
                f"got {self.min_lr:g}"
            )
        return problems + self._wrong_direction(path_of)

    def _wrong_direction(self, path_of: Callable[[str], str]) -> list[str]:
        """Check the mode of a metric with a known direction."""
        known = known_mode(self.early_stopping_monitor)
        if known in ("", self.early_stopping_mode) or monitors_of(vars(self)) is ANY:
            return []
        better = "lower" if known == "min" else "higher"
        return [
            f"{path_of('early_stopping_mode')}: must be {known} for {self.early_stopping_monitor}, "
            f"because {better} is better, got {self.early_stopping_mode!r}"
        ]

    def best_of(self, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the best epoch in `rows`, which is saved and ranked.

        It is the best by `early_stopping_monitor`; ties, which are common without validation
        errors, go to the lowest `val_loss`, then to the first epoch. Empty if no row has the
        monitored metric.
        """

        def merit(row: Mapping[str, Any]) -> tuple[float, float]:
            loss = row.get("val_loss", math.nan)
            score = score_of(row[self.early_stopping_monitor], self.early_stopping_mode)
            return score, -math.inf if math.isnan(loss) else -loss

        known = [r for r in rows if not math.isnan(r.get(self.early_stopping_monitor, math.nan))]
        return max(known, key=merit, default={})

    def after(self, epochs: int) -> TrainingConfig:
        """Return the settings after `epochs` epochs, with the `changes` up to then."""
        made = [change for change in self.changes if change["after_epoch"] <= epochs]
        now = {name: c[name] for c in made for name in CHANGEABLE if name in c}
        return dataclasses.replace(self, **now, parameters=self.parameters_after(epochs))

    def parameters_after(self, epochs: int) -> dict[str, Any]:
        """Return the parameters of a task of one's own that hold after so many epochs."""
        changed = {
            name.removeprefix(PARAMETER): value
            for change in self.changes
            if change["after_epoch"] <= epochs
            for name, value in change.items()
            if name.startswith(PARAMETER)
        }
        return {**self.parameters, **changed}

    def to_dict(self) -> dict[str, Any]:
        """Return every field by name, as plain Python values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(
        cls, config_dict: Mapping[str, Any], *, environment: Mapping[str, str] | None = None
    ) -> TrainingConfig:
        """Return a checked config; missing fields keep their defaults.

        `RAYTUNE_OCR_<SETTING>` variables of `environment` (default: the process's own) override.

        Raises:
            ConfigurationError: naming every unknown field and broken rule.
        """
        return cls.from_fields(_checked({**config_dict, **environment_overrides(environment)}))

    @classmethod
    def from_fields(
        cls, fields: Mapping[str, Any], path_of: Callable[[str], str] = str
    ) -> TrainingConfig:
        """Return the config of `fields` and defaults, without the environment.

        Raises:
            ConfigurationError: with all broken rules, named by `path_of` as in `validate`.
        """
        config = cls.__new__(cls)
        Settings.__init__(config, **copy.deepcopy(dict(fields)))
        config.early_stopping_mode = fields.get("early_stopping_mode") or mode_of(
            str(config.early_stopping_monitor)
        )
        config.validate(path_of)
        return config

    def save_yaml(self, path: str | os.PathLike[str]) -> None:
        """Write the config atomically.

        Raises:
            ConfigurationError: for a config that `from_yaml` would refuse.
        """
        self.validate()
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


def with_half_the_batch(config: TrainingConfig) -> TrainingConfig:
    """Return the same effective batch in half the memory; an odd batch is rounded up."""
    return dataclasses.replace(
        config,
        batch_size=(config.batch_size + 1) // 2,
        gradient_accumulation_steps=2 * config.gradient_accumulation_steps,
    )


def needs_ctc(model_name: Any) -> bool:
    """Whether a model of this name is trained with the CTC loss alone."""
    return str(model_name).startswith("ctc")


def with_derived(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the loss of their model, and the module of a function or class."""
    ctc = {"loss_type": "ctc"} if needs_ctc(values.get("model_name", "")) else {}
    named = [str(values.get(name) or "").rpartition(":")[0] for name in ("trainable", "task")]
    imports = list(dict.fromkeys([*values.get("imports", []), *filter(None, named)]))
    return {**ctc, **values, **({"imports": imports} if imports else {})}


def data_key(config: TrainingConfig) -> str:
    """Return a key that is equal for experiments that can share a dataset in memory."""
    return json.dumps([getattr(config, name) for name in DATA_FIELDS], sort_keys=True, default=str)


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` as the types of their settings.

    Raises:
        ConfigurationError: with all unknown settings and broken rules, one a line.
    """
    checked, problems = {}, []
    for name, value in values.items():
        try:
            checked[name] = check(str(name), value)
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return checked
