"""The rule of each setting: its type, its range and how the rule reads in a message."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from raytune_ocr.errors import (
    ConfigurationError,
    unknown_name,
)

LOSS_TYPES = ("crossentropy", "ctc", "focal")


OPTIMIZER_TYPES = ("adam", "adamw", "muon", "sgd")


SCHEDULER_TYPES = ("steplr", "cosine", "plateau", "none")


MODES = ("max", "min")


CHANGEABLE = ("learning_rate", "weight_decay", "gradient_clip_norm", "label_smoothing")
"""What `changes` may change: all that needs neither another model nor other data."""


class Rule(NamedTuple):
    """What a value must be: its type, and a range said in words."""

    kind: type
    text: str
    holds: Callable[[Any], bool] = lambda value: True


def _integer(low: int, high: int | None = None) -> Rule:
    if high is None:
        return Rule(int, f"an integer >= {low}", lambda v: v >= low)
    return Rule(int, f"an integer from {low} to {high}", lambda v: low <= v <= high)


def _number(text: str, holds: Callable[[float], bool]) -> Rule:
    return Rule(float, f"a number {text}", holds)


def _one_of(*names: str) -> Rule:
    return Rule(str, f"one of {', '.join(names)}", lambda v: v in names)


_ANY_TEXT = Rule(str, "text that is not empty", lambda v: bool(v.strip()))


_PATH = Rule(str, "a path (text)")


_FLAG = Rule(bool, "true or false")


_POSITIVE = _number("> 0", lambda v: v > 0)


_NOT_NEGATIVE = _number(">= 0", lambda v: v >= 0)


_FRACTION = _number("from 0 to 1", lambda v: 0 <= v <= 1)


_OPEN_FRACTION = _number(">= 0 and < 1", lambda v: 0 <= v < 1)


_DECAY = _number("> 0 and <= 1", lambda v: 0 < v <= 1)


_BETAS = Rule(
    list,
    "two numbers >= 0 and < 1",
    lambda v: len(v) == 2 and all(_is_number(b) and 0 <= b < 1 for b in v),
)


_OPTIONS = Rule(
    dict, "a mapping of names to values", lambda v: all(isinstance(key, str) for key in v)
)


_MODULES = Rule(
    list,
    "a list of module names",
    lambda v: all(isinstance(m, str) and all(p.isidentifier() for p in m.split(".")) for m in v),
)


_CHANGES = Rule(
    list,
    f"a list such as [{{after_epoch: 5, learning_rate: 1e-4}}], later ones after it, each with one "
    f"or more of {', '.join(CHANGEABLE)}",
    lambda v: (
        all(map(_is_change, v))
        and all(a["after_epoch"] < b["after_epoch"] for a, b in itertools.pairwise(v))
    ),
)


_EXPERIMENT_NAME = Rule(
    str,
    "a name of letters, digits, '.', '_' and '-', 100 at most, the first a letter or digit",
    lambda v: bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", v)) and ".." not in v,
)


_DEVICE = Rule(
    str,
    "auto, cpu, mps, cuda or cuda:N",
    lambda v: bool(re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", v)),
)


RULES: dict[str, Rule] = {
    "model_name": _ANY_TEXT,
    "model_config_path": _PATH,
    "vocab_size": _integer(2),
    "max_sequence_length": _integer(1),
    "gradient_checkpointing": _FLAG,
    "model_options": _OPTIONS,
    "imports": _MODULES,
    "dataset_name": _ANY_TEXT,
    "dataset_options": _OPTIONS,
    "metadata_path": _PATH,
    "train_split": _ANY_TEXT,
    "val_split": _ANY_TEXT,
    "batch_size": _integer(1),
    "num_workers": _integer(0),
    "pin_memory": _FLAG,
    "augmentation": _FLAG,
    "device": _DEVICE,
    "mixed_precision": _FLAG,
    "num_epochs": _integer(1),
    "learning_rate": _POSITIVE,
    "weight_decay": _NOT_NEGATIVE,
    "gradient_clip_norm": _NOT_NEGATIVE,
    "gradient_accumulation_steps": _integer(1),
    "ema_decay": _OPEN_FRACTION,
    "log_every_n_steps": _integer(1),
    "save_every_n_epochs": _integer(1),
    "keep_n_checkpoints": _integer(1),
    "use_tensorboard": _FLAG,
    "debug_mode": _FLAG,
    "seed": _integer(0, 2**32 - 1),
    "changes": _CHANGES,
    "loss_type": _one_of(*LOSS_TYPES),
    "label_smoothing": _OPEN_FRACTION,
    "focal_gamma": _NOT_NEGATIVE,
    "focal_alpha": _DECAY,
    "ctc_weight": _NOT_NEGATIVE,
    "optimizer_type": _one_of(*OPTIMIZER_TYPES),
    "optimizer_betas": _BETAS,
    "scheduler_type": _one_of(*SCHEDULER_TYPES),
    "warmup_epochs": _integer(0),
    "min_lr": _NOT_NEGATIVE,
    "step_size": _integer(1),
    "gamma": _DECAY,
    "patience": _integer(0),
    "factor": _number("> 0 and < 1", lambda v: 0 < v < 1),
    "early_stopping_patience": _integer(0),
    "early_stopping_min_delta": _NOT_NEGATIVE,
    "early_stopping_monitor": _ANY_TEXT,
    "early_stopping_mode": _one_of(*MODES),
    "experiment_name": _EXPERIMENT_NAME,
    "output_dir": _ANY_TEXT,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_change(value: Any) -> bool:
    """Whether it says what changes after which epoch, and by each setting's own rule."""
    if not isinstance(value, Mapping) or not {"after_epoch"} < value.keys():
        return False
    after, *names = "after_epoch", *(name for name in value if name != "after_epoch")
    try:
        for name in names:
            check(name, value[name])
    except ConfigurationError:
        return False
    return set(names) <= set(CHANGEABLE) and type(value[after]) is int and value[after] >= 1


def check(name: str, value: Any, place: str | None = None) -> Any:
    """`value` as the type of the field `name`, if it keeps that field's rule.

    Args:
        name: a field of `TrainingConfig`.
        value: what the user wrote.
        place: where it was written, for the message (default: the field's name).

    Raises:
        ConfigurationError: `<place>: must be <rule>, got <value>`, or an unknown field.
    """
    if name not in RULES:
        raise ConfigurationError(f"{place or name}: {unknown_name('setting', name, RULES)}")
    rule = RULES[name]
    if rule.kind is float and _is_number(value):
        value = float(value)
    if rule.kind is list and isinstance(value, (list, tuple)):
        value = list(value)
    typed = isinstance(value, rule.kind) and not (rule.kind is int and isinstance(value, bool))
    finite = not isinstance(value, float) or value - value == 0.0
    if not (typed and finite and rule.holds(value)):
        raise ConfigurationError(f"{place or name}: must be {rule.text}, got {value!r}")
    return value
