"""Every setting of a training run: default, rule, YAML path, unit and documentation in one place.

`RULES` and `SECTIONS` are derived from the fields of `Settings`, and so are the JSON Schema and the
reference page of the YAML.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

from raytune_ocr.config.changes import CHANGEABLE_RULES, CHANGES
from raytune_ocr.config.metrics import KHMER_DIGITS, MODES
from raytune_ocr.config.rules import (
    BETAS,
    DEVICE,
    FLAG,
    FRACTION,
    FRACTION_OR_0,
    FRACTION_OR_1,
    IMAGE_SHAPE,
    KEYWORDS,
    MODULES,
    NAME,
    NAMES,
    NOT_NEGATIVE,
    PATH,
    TASK,
    TEXT,
    TRAINABLE,
    Rule,
    integer,
    one_of,
)
from raytune_ocr.errors import ConfigurationError, unknown_name
from raytune_ocr.vocabulary import SEQUENCE_LENGTH, VOCAB_SIZE

DEFAULT_METADATA_PATH = "generated_data/metadata.yaml"
DEFAULT_MODEL_CONFIG_PATH = "config/model_config.yaml"

LOSS_TYPES = ("crossentropy", "ctc", "focal")
OPTIMIZER_TYPES = ("adam", "adamw", "muon", "sgd")
SCHEDULER_TYPES = ("steplr", "cosine", "plateau", "none")

T = TypeVar("T")


@dataclass(frozen=True)
class About:
    """The documentation and rule of a setting, besides its name and type.

    Attributes:
        rule: of its values.
        paths: its YAML paths, `section.key`; of several the last one wins.
        doc: what it does.
        unit: of a number.
        derived: its default in words, if it depends on other settings.
    """

    rule: Rule
    paths: tuple[str, ...]
    doc: str
    unit: str = ""
    derived: str = ""


def setting(default: T, rule: Rule, path: str | tuple[str, ...], doc: str, **about: Any) -> T:
    """Declare a setting; a default list or mapping is copied for each config.

    Args:
        path: its YAML path or paths; "" if no section has it.
        **about: further attributes of `About`.
    """
    paths = (path,) if isinstance(path, str) else path
    metadata = {"about": About(rule, tuple(filter(None, paths)), doc, **about)}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass
class Settings:
    """The settings of one training run, each with its rule and documentation."""

    # Model
    model_name: str = setting("medium", TEXT, "model.name", "a registered model")
    model_config_path: str = setting(
        DEFAULT_MODEL_CONFIG_PATH,
        PATH,
        "model.config_path",
        "a YAML file of architecture overrides; the default one may be absent",
    )
    vocab_size: int = setting(
        VOCAB_SIZE, integer(2), "model.vocab_size", "classes of an attention reader's output"
    )
    max_sequence_length: int = setting(
        SEQUENCE_LENGTH, integer(1), "model.max_sequence_length", "positions of a target, EOS last"
    )
    gradient_checkpointing: bool = setting(
        False,
        FLAG,
        "model.gradient_checkpointing",
        "recompute activations in the backward pass: less memory, more time",
    )
    model_options: dict[str, Any] = setting(
        {}, KEYWORDS, "model.options", "keywords of the model's constructor"
    )
    imports: list[str] = setting(
        [], MODULES, "model.imports", "modules to import, which register models and datasets"
    )

    # Data
    dataset_name: str = setting(KHMER_DIGITS, TEXT, "data.name", "a registered dataset")
    dataset_options: dict[str, Any] = setting(
        {}, KEYWORDS, "data.options", "keywords of the dataset's constructor"
    )
    metadata_path: str = setting(
        DEFAULT_METADATA_PATH,
        PATH,
        "data.metadata_path",
        "metadata.yaml, labels.csv or a folder of images",
    )
    train_split: str = setting("train", TEXT, "data.train_split", "the split that is trained on")
    val_split: str = setting("val", TEXT, "data.val_split", "the split that is validated on")
    class_names: list[str] = setting(
        [], NAMES, "", "names of the classes by label; taken from the data"
    )
    image_shape: list[int] = setting(
        [], IMAGE_SHAPE, "", "channels, height and width of an image; taken from the data"
    )
    batch_size: int = setting(
        32, integer(1), "training.batch_size", "size of a batch", unit="images"
    )
    num_workers: int = setting(
        4,
        integer(0),
        "data.num_workers",
        "worker processes that load images which are not in memory",
    )
    pin_memory: bool = setting(
        False, FLAG, "data.pin_memory", "load batches into page-locked memory, for a GPU"
    )
    augmentation: bool = setting(
        True, FLAG, "data.augmentation", "change training images at random"
    )

    # Training
    device: str = setting(
        "auto", DEVICE, "training.device", "device; auto takes CUDA, then MPS, then the CPU"
    )
    mixed_precision: bool = setting(
        False,
        FLAG,
        "training.mixed_precision",
        "train in bf16 or fp16 where the device is fast in it",
    )
    num_epochs: int = setting(
        40,
        integer(1),
        ("epochs", "training.num_epochs"),
        "length of the training",
        unit="epochs",
    )
    learning_rate: float = setting(
        1e-3,
        CHANGEABLE_RULES["learning_rate"],
        ("training.learning_rate", "optimizer.learning_rate"),
        "learning rate, before its schedule",
    )
    weight_decay: float = setting(
        1e-4,
        CHANGEABLE_RULES["weight_decay"],
        ("training.weight_decay", "optimizer.weight_decay"),
        "weight decay of matrices and kernels; biases and norms have none",
    )
    gradient_clip_norm: float = setting(
        1.0,
        CHANGEABLE_RULES["gradient_clip_norm"],
        "training.gradient_clip_norm",
        "largest norm of a gradient; 0 turns clipping off",
        unit="L2 norm",
    )
    gradient_accumulation_steps: int = setting(
        1, integer(1), "training.gradient_accumulation_steps", "batches of an optimizer step"
    )
    ema_decay: float = setting(
        0.0,
        FRACTION_OR_0,
        "training.ema_decay",
        "decay of the moving average of the weights, which is validated and saved; 0 turns it off",
    )
    log_every_n_steps: int = setting(
        25, integer(1), "training.log_every_n_steps", "steps between lines of the log", unit="steps"
    )
    save_every_n_epochs: int = setting(
        5,
        integer(1),
        "training.save_every_n_epochs",
        "epochs between numbered checkpoints",
        unit="epochs",
    )
    keep_n_checkpoints: int = setting(
        3, integer(1), "training.keep_n_checkpoints", "numbered checkpoints that are kept"
    )
    use_tensorboard: bool = setting(
        True, FLAG, "training.use_tensorboard", "write TensorBoard event files"
    )
    debug_mode: bool = setting(
        False, FLAG, "training.debug_mode", "check gradients for NaN and log more"
    )
    seed: int = setting(
        0, integer(0, 2**32 - 1), "training.seed", "seed of weights, batches and augmentation"
    )
    changes: list[dict[str, Any]] = setting(
        [], CHANGES, "training.changes", "settings that change after an epoch; later ones win"
    )

    # Loss
    loss_type: str = setting(
        "crossentropy",
        one_of(*LOSS_TYPES),
        "training.loss_type",
        "loss function",
        derived="ctc for a ctc model, else crossentropy",
    )
    label_smoothing: float = setting(
        0.0,
        CHANGEABLE_RULES["label_smoothing"],
        "training.label_smoothing",
        "share of a target's probability that goes to the other classes",
    )
    focal_gamma: float = setting(
        2.0, NOT_NEGATIVE, "training.focal_gamma", "exponent of the focal loss"
    )
    focal_alpha: float = setting(
        0.25, FRACTION_OR_1, "training.focal_alpha", "factor of the focal loss"
    )
    ctc_weight: float = setting(
        0.5,
        NOT_NEGATIVE,
        "training.ctc_weight",
        "weight of the auxiliary CTC loss on an attention reader's encoder",
    )

    # Optimizer
    optimizer_type: str = setting("adam", one_of(*OPTIMIZER_TYPES), "optimizer.type", "optimizer")
    optimizer_betas: list[float] = setting(
        [0.9, 0.999],
        BETAS,
        "optimizer.betas",
        "betas of Adam and AdamW; the first is the momentum of SGD and Muon",
    )

    # Learning-rate schedule
    scheduler_type: str = setting(
        "steplr", one_of(*SCHEDULER_TYPES), "scheduler.type", "learning-rate schedule"
    )
    warmup_epochs: int = setting(
        0, integer(0), "scheduler.warmup_epochs", "epochs of linear warm-up", unit="epochs"
    )
    min_lr: float = setting(
        1e-6, NOT_NEGATIVE, "scheduler.min_lr", "lowest learning rate of the schedule"
    )
    step_size: int = setting(
        10, integer(1), "scheduler.step_size", "steplr: epochs between steps", unit="epochs"
    )
    gamma: float = setting(
        0.5, FRACTION_OR_1, "scheduler.gamma", "steplr: factor of the learning rate at a step"
    )
    patience: int = setting(
        5,
        integer(0),
        "scheduler.patience",
        "plateau: epochs without improvement before a step",
        unit="epochs",
    )
    factor: float = setting(
        0.5, FRACTION, "scheduler.factor", "plateau: factor of the learning rate at a step"
    )

    # Early stopping
    early_stopping_patience: int = setting(
        10,
        integer(0),
        "early_stopping.patience",
        "epochs without improvement before the training ends; 0 turns early stopping off",
        unit="epochs",
    )
    early_stopping_min_delta: float = setting(
        1e-4, NOT_NEGATIVE, "early_stopping.min_delta", "least change that is an improvement"
    )
    early_stopping_monitor: str = setting(
        "val_char_accuracy",
        TEXT,
        ("metric.name", "early_stopping.monitor"),
        "metric of early stopping, the best checkpoint and the ranking",
        derived="val_char_accuracy; of a classifier val_accuracy, of other tasks val_loss",
    )
    early_stopping_mode: str = setting(
        "",
        one_of(*MODES),
        ("metric.mode", "early_stopping.mode"),
        "whether a higher or a lower value of the monitor is better; needed where its name does "
        "not tell",
        derived="min for a loss or an error, max for an accuracy and the like",
    )

    # Output
    experiment_name: str = setting(
        "hyperparameter_experiment", NAME, "", "name of the trial and of its folder"
    )
    output_dir: str = setting("training_output", TEXT, "", "folder of the trial's folder")

    # A task of one's own
    trainable: str = setting(
        "", TRAINABLE, "trainable", "a function that trains, `(parameters, context)`"
    )
    task: str = setting(
        "",
        TASK,
        "task",
        "what is trained: a registered task, or a class of one's own",
        derived="function with a trainable, else reader or classifier, by the dataset",
    )
    parameters: dict[str, Any] = setting(
        {}, KEYWORDS, "parameters", "parameters of the trainable or task, by any names"
    )
    changeable: list[str] = setting(
        [],
        NAMES,
        "changeable",
        "parameters that may change while a trial trains, as population based training does",
    )


ABOUT: dict[str, About] = {
    field.name: field.metadata["about"] for field in dataclasses.fields(Settings)
}

RULES: dict[str, Rule] = {name: about.rule for name, about in ABOUT.items()}

OWN = ""
"""The section of the keys that stand in an experiment itself."""

SECTIONS: dict[str, dict[str, str]] = {
    section: {
        path.rpartition(".")[2]: name
        for name, about in ABOUT.items()
        for path in about.paths
        if path.rpartition(".")[0] == section
    }
    for section in (
        *(OWN, "metric", "model", "data", "training", "optimizer", "scheduler", "early_stopping"),
    )
}
"""Keys of an experiment's sections, and the setting that each holds; later sections win."""

PATHS = {path: name for name, about in ABOUT.items() for path in about.paths}
"""Settings by YAML path, `section.key`."""


def path_of(name: str) -> str:
    """Return the YAML path of a setting, or its name if no section has it.

    >>> path_of("learning_rate")
    'optimizer.learning_rate'
    """
    return next(iter(reversed(ABOUT[name].paths)), name) if name in ABOUT else name


def check(name: str, value: Any, path: str | None = None) -> Any:
    """Return `value` as the type of the setting `name`.

    Args:
        name: a field of `TrainingConfig`.
        value: the user's value.
        path: its YAML path or option, for the message (default: the setting's name).

    Raises:
        ConfigurationError: `<path>: must be <rule>, got <value>`, or an unknown setting.
    """
    if name not in RULES:
        raise ConfigurationError(f"{path or name}: {unknown_name('setting', name, RULES)}")
    return RULES[name].read(value, path or name)
