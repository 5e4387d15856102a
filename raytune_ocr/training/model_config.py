"""Models from a config or a checkpoint."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from raytune_ocr.config.metrics import KHMER_DIGITS
from raytune_ocr.config.training_config import DEFAULT_MODEL_CONFIG_PATH, TrainingConfig
from raytune_ocr.errors import (
    CheckpointError,
    IncompleteCheckpointError,
    ModelCreationError,
)
from raytune_ocr.models import ModelRegistry, Reader, create_model
from raytune_ocr.plugins import check_trusted, import_modules
from raytune_ocr.training.ocr import kind_of
from raytune_ocr.training.state_files import read_state


def without_model_file(config: TrainingConfig) -> TrainingConfig:
    """`config` with the settings of its `model_config_path` in its `model_options`.

    A trial may run on another node, and its model may be read on a third machine: there the path
    names no file, or another one. A registered model that reads the file itself is given its
    absolute path.
    """
    from raytune_ocr.models import ALIASES, PRESETS, settings_of_file

    name, path = config.model_name, config.model_config_path
    if not (path and Path(path).exists()):
        return config
    if ALIASES.get(name, name) not in PRESETS:
        return dataclasses.replace(config, model_config_path=str(Path(path).absolute()))
    flag = {"gradient_checkpointing": True} if config.gradient_checkpointing else {}
    options = {**settings_of_file(name, path), **flag, **config.model_options}
    return dataclasses.replace(config, model_config_path="", model_options=options)


def create_model_from_config(
    config: TrainingConfig, offered: Mapping[str, Any] | None = None
) -> nn.Module:
    """The model that `config` names, with its YAML of overrides if that file exists.

    A reader of digits always has a `kind`.

    Args:
        offered: keywords that the dataset offers (`num_classes`); those that the model's
            signature names are passed. `config.model_options` always are.

    Raises:
        ModelCreationError, ConfigurationError: for an unknown name or overrides that do not fit.
    """
    import_modules(config.imports)
    default_is_absent = (
        config.model_config_path == DEFAULT_MODEL_CONFIG_PATH
        and not Path(config.model_config_path).exists()
    )
    named = inspect.signature(ModelRegistry.factory(config.model_name)).parameters
    overrides = {name: value for name, value in (offered or {}).items() if name in named}
    if config.gradient_checkpointing:
        overrides["gradient_checkpointing"] = True
    model = create_model(
        config.model_name,
        vocab_size=config.vocab_size,
        max_sequence_length=config.max_sequence_length,
        config_path=None if default_is_absent else config.model_config_path,
        **{**overrides, **config.model_options},
    )
    if config.dataset_name == KHMER_DIGITS and not hasattr(model, "kind"):
        model.kind = kind_of(model, config)  # for decoding without the config
    return model


def whole(config: TrainingConfig, model: nn.Module) -> TrainingConfig:
    """`config` with the architecture of a `Reader` in it, so that no other file is needed."""
    if not isinstance(model, Reader):
        return config
    fields = ("kind", "vocab_size", "max_sequence_length")  # fields of their own in the config
    options = {name: value for name, value in model.config.items() if name not in fields}
    return dataclasses.replace(config, model_options=options, model_config_path="")


def load_reader(
    path: str | os.PathLike[str], imports: Sequence[str] = ()
) -> tuple[nn.Module, TrainingConfig]:
    """The reader in a checkpoint, in evaluation mode on the CPU, and the config it came from.

    Args:
        imports: modules to import first, for the models that they register. Modules that the file
            names are not imported: it may come from anybody.

    Raises:
        ConfigurationError: when the model needs a module that is not imported; names it.
        CheckpointError: when the file is missing, damaged or no reader's.
    """
    state = read_state(path)
    if "config" not in state or "model_state_dict" not in state:
        raise IncompleteCheckpointError(f"{path}: holds no reader (no config beside its weights)")
    config = TrainingConfig.from_dict(state["config"], environment={})
    if config.dataset_name != KHMER_DIGITS:
        raise CheckpointError(
            f"{path}: holds no reader of digits, but a model of {config.dataset_name!r}"
        )
    model = rebuild_model(config, path, imports)
    try:
        model.load_state_dict(state["model_state_dict"])
    except RuntimeError as error:
        raise CheckpointError(f"{path}: its weights do not fit its config: {error}") from None
    return model.eval(), config


def rebuild_model(
    config: TrainingConfig, source: str | os.PathLike[str], imports: Sequence[str] = ()
) -> nn.Module:
    """The model of a config that was read from a file, which may come from anybody.

    Args:
        source: that file, for the message.
        imports: modules to import first. Those that `config` names are not imported.

    Raises:
        ConfigurationError: when the model needs one of those; names the option that allows it.
        ModelCreationError: for an unknown name or overrides that do not fit.
    """
    import_modules(imports)
    try:
        ModelRegistry.factory(config.model_name)
    except ModelCreationError:
        check_trusted(config.imports, imports, str(source))
        raise
    return create_model_from_config(dataclasses.replace(config, imports=[]))
