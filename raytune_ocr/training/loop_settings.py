"""The loop's settings: `config.training.<name>`, as attributes or keys."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from raytune_ocr.config.rules import shown
from raytune_ocr.config.settings import RULES, check
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError, unknown_name

FIELD_OF = {
    "weight_decay": "weight_decay",
    "max_grad_norm": "gradient_clip_norm",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "mixed_precision": "mixed_precision",
    "ema_decay": "ema_decay",
}
"""Settings of the loop, and the field of `TrainingConfig` with the same rule."""

OF_FIELD = {field: name for name, field in FIELD_OF.items()}

SETTINGS = (*FIELD_OF, "scheduler_step_per_batch")

OF_OTHERS = frozenset(RULES) - {"gradient_clip_norm"}
"""Settings that may stand beside the loop's, for what builds the model or the loaders."""


@dataclass(frozen=True)
class LoopSettings:
    """Settings of the loop.

    Attributes:
        weight_decay: of the optimizer's groups that have one; None: as the optimizer has it.
        max_grad_norm: L2 norm to which gradients are clipped; 0: no clipping.
        gradient_accumulation_steps: batches for one step of the optimizer.
        scheduler_step_per_batch: step the schedule after each optimizer step, not each epoch.
        mixed_precision: compute in half precision where the device is fast in it.
        ema_decay: of the moving average of weights that is evaluated and kept; 0: no average.
    """

    weight_decay: float | None = None
    max_grad_norm: float = 0.0
    gradient_accumulation_steps: int = 1
    scheduler_step_per_batch: bool = False
    mixed_precision: bool = False
    ema_decay: float = 0.0

    @classmethod
    def of(cls, config: Any) -> LoopSettings:
        """The settings in `config.training`; those that are absent or None keep their defaults.

        Raises:
            ConfigurationError: for settings that stand beside `training`, dotted keys, unknown
                names and values that break a rule.
        """
        if config is None or isinstance(config, cls):
            return config or cls()
        _check_settings("config", config)
        _refuse_flat(config)
        training = member(config, "training")
        if training is None:
            return cls()
        _check_settings("config.training", training)
        for name in _names(training):
            if name not in SETTINGS and name not in OF_OTHERS:
                problem = unknown_name("setting", name, SETTINGS)
                raise ConfigurationError(f"config.training.{name}: {problem}")
        values = {name: member(training, name) for name in SETTINGS}
        return cls(**{n: _checked(n, value) for n, value in values.items() if value is not None})

    @classmethod
    def of_training(cls, config: TrainingConfig) -> LoopSettings:
        """The same from a `TrainingConfig`; weight decay is in the optimizer that it builds."""
        names = {name: field for name, field in FIELD_OF.items() if name != "weight_decay"}
        return cls(**{name: getattr(config, field) for name, field in names.items()})


def member(owner: Any, name: str) -> Any:
    """`owner[name]` of a mapping, else `owner.name`; None where there is none."""
    if isinstance(owner, Mapping):
        return owner.get(name)
    return getattr(owner, name, None)


def _check_settings(place: str, owner: Any) -> None:
    """Raise for what has no settings: a text, a number, a list."""
    if isinstance(owner, (str, bytes, int, float, list, tuple)):
        raise ConfigurationError(
            f"{place}: must be a mapping, or an object with attributes, got {shown(owner)}"
        )


def _refuse_flat(config: Any) -> None:
    """Raise where settings are not under `training`, since they would be ignored."""
    for name in _names(config):
        plain = OF_FIELD.get(name, name).removeprefix("training.")
        near = difflib.get_close_matches(plain, SETTINGS, n=1, cutoff=0.8)
        if near or name.startswith("training."):
            setting = near[0] if near else plain
            raise ConfigurationError(
                f"config.{name}: must be under training, as in "
                f"{{'training': {{{setting!r}: ...}}}}; here it would be ignored"
            )
        if name != "training" and difflib.get_close_matches(name, ["training"], cutoff=0.8):
            raise ConfigurationError(f"config: {unknown_name('section', name, ['training'])}")


def _names(owner: Any) -> Iterable[str]:
    """Keys of a mapping, else the public data attributes of an object and its class."""
    if isinstance(owner, Mapping):
        return [str(key) for key in owner]
    return [
        name
        for name in dir(owner)
        if not name.startswith("_") and not callable(getattr(owner, name, None))
    ]


def _checked(name: str, value: Any) -> Any:
    place = f"config.training.{name}"
    if name in FIELD_OF:
        return check(FIELD_OF[name], value, place)
    if not isinstance(value, bool):
        raise ConfigurationError(f"{place}: must be true or false, got {value!r}")
    return value
