"""`TrainingConfig`: every setting of a training run, flat, with its rule in one place.

A setting has one spelling from the YAML to the optimizer and back into the results. Types are
checked before ranges, and all problems are reported at once.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import math
import os
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from raytune_ocr.errors import (
    ConfigurationError,
    ConfigurationNotFoundError,
    ConfigurationSyntaxError,
    unknown_name,
)
from raytune_ocr.files import replacing
from raytune_ocr.vocabulary import SEQUENCE_LENGTH, VOCAB_SIZE

ENVIRONMENT_PREFIX = "RAYTUNE_OCR_"
DEFAULT_METADATA_PATH = "generated_data/metadata.yaml"
KHMER_DIGITS = "khmer_digits"
CLASSIFIER_MONITOR = "val_accuracy"  # for every other dataset
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
DEFAULT_MODEL_CONFIG_PATH = "config/model_config.yaml"

LOSS_TYPES = ("crossentropy", "ctc", "focal")
OPTIMIZER_TYPES = ("adam", "adamw", "muon", "sgd")
SCHEDULER_TYPES = ("steplr", "cosine", "plateau", "none")
MODES = ("max", "min")
CHANGEABLE = ("learning_rate", "weight_decay", "gradient_clip_norm", "label_smoothing")
"""What `changes` may change: all that needs neither another model nor other data."""
ATTENTION_PRESETS = ("small", "medium", "large")


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


def mode_of(metric: str) -> str:
    """The direction in which a metric improves: "min" if its name speaks of a loss or an error."""
    lower_is_better = any(word in metric for word in ("loss", "cer", "error", "perplexity"))
    return "min" if lower_is_better else "max"


def monitors_of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """What may be followed on the dataset that `values` name."""
    digits = values.get("dataset_name", KHMER_DIGITS) == KHMER_DIGITS
    return MONITORS if digits else CLASSIFIER_MONITORS


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


def environment_overrides(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Fields named by `RAYTUNE_OCR_<FIELD>` variables, their values read as YAML."""
    environment = os.environ if environment is None else environment
    found = {}
    for name in RULES:
        variable = ENVIRONMENT_PREFIX + name.upper()
        if variable in environment:
            found[name] = check(name, parse_value(name, environment[variable]), variable)
    return found


def parse_value(name: str, text: str) -> Any:
    """The value that `text`, from a command line or a variable, has in a YAML file."""
    if name in RULES and RULES[name].kind is str:
        return text
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = getattr(error, "problem", None) or error
        raise ConfigurationSyntaxError(f"{name}: must be YAML, got {text!r}: {reason}") from None


def load_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A YAML file's mapping: safe tags only, no doubled key, `1e-6` read as a number.

    Raises:
        ConfigurationNotFoundError: there is no such file.
        ConfigurationSyntaxError: it is not YAML, doubles a key or is no mapping; names the line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationSyntaxError(f"{path}: must be UTF-8 text: {error}") from None
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationNotFoundError(f"{path}: no such configuration file ({reason})") from None
    try:
        content = yaml.load(_named(text, path), Loader=_StrictLoader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ConfigurationSyntaxError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict):
        got = type(content).__name__
        raise ConfigurationSyntaxError(f"{path}: must be a mapping of keys to values, got {got}")
    return content


def to_yaml(content: Any) -> str:
    """YAML of plain values, in their order; by libyaml, four times as fast, where it is there."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump(content, Dumper=dumper, sort_keys=False, allow_unicode=True)


def _named(text: str, path: str | os.PathLike[str]) -> io.StringIO:
    """A stream by whose name PyYAML tells the place of an error."""
    stream = io.StringIO(text)
    stream.name = str(path)
    return stream


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader, with numbers as YAML 1.2 has them and no doubled keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)
_StrictLoader.add_constructor(
    "tag:yaml.org,2002:python/tuple",
    lambda loader, node: loader.construct_sequence(node),  # type: ignore[arg-type]
)
