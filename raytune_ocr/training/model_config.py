"""Build models from a config or a checkpoint."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from raytune_ocr.config.metrics import KHMER_DIGITS
from raytune_ocr.config.training_config import DEFAULT_MODEL_CONFIG_PATH, TrainingConfig
from raytune_ocr.errors import (
    CheckpointError,
    DataLoaderError,
    IncompleteCheckpointError,
    ModelCreationError,
    RaytuneOCRError,
)
from raytune_ocr.models import (
    ALIASES,
    PRESETS,
    ModelRegistry,
    Reader,
    create_model,
    settings_of_file,
)
from raytune_ocr.plugins import check_trusted, import_modules
from raytune_ocr.training.checkpoints.state_files import read_state
from raytune_ocr.training.trainers.ocr import kind_of


def without_model_file(config: TrainingConfig) -> TrainingConfig:
    """`config` with the settings of its `model_config_path` in its `model_options`.

    A trial may run on another node, and its model may be read on a third machine: there the path
    names no file, or another one. A registered model that reads the file itself is given its
    absolute path.
    """
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
    fields = ("kind", "vocab_size", "max_sequence_length")  # separate fields of the config
    options = {name: value for name, value in model.config.items() if name not in fields}
    return dataclasses.replace(config, model_options=options, model_config_path="")


def with_model_facts(config: TrainingConfig, facts: Mapping[str, Any]) -> TrainingConfig:
    """`config` with what of the data travels with a model: names of classes, shape of an image.

    Args:
        facts: `BaseDataset.model_facts()`.

    Raises:
        DataLoaderError: when the classes of the data are not those that `config` names.
    """
    names = list(map(str, facts.get("class_names", [])))
    if config.class_names and config.class_names != names:
        raise DataLoaderError(
            f"{config.metadata_path}: the classes must be {config.class_names} in this order, as "
            f"in the weights, got {names}; to train the new classes, give --set 'class_names=[]'"
        )
    shape = list(facts.get("image_shape") or [])
    return dataclasses.replace(config, class_names=names, image_shape=shape)


def rebuild_model(
    config: TrainingConfig,
    source: str | os.PathLike[str],
    imports: Sequence[str] = (),
    weights: Mapping[str, Any] | None = None,
) -> nn.Module:
    """The model of a config that was read from a file, which may come from anybody; no weights.

    A classifier has `class_names` and `image_shape` of the data that it was trained on.

    Args:
        source: that file, for messages.
        imports: modules to import first. Those that `config` names are not imported.
        weights: that it will get; a config of other sizes is refused before it takes memory.

    Raises:
        ConfigurationError: when the model needs one of those; names the option that allows it.
        CheckpointError: when the config names no classes and is no reader's, or has sizes that no
            model can have, or other ones than the weights.
        ModelCreationError: for an unknown name or overrides that do not fit.
    """
    import_modules(imports)
    try:
        ModelRegistry.factory(config.model_name)
    except ModelCreationError:
        check_trusted(config.imports, imports, str(source))
        raise
    offered: dict[str, Any] = {}
    if config.dataset_name != KHMER_DIGITS:
        if not config.class_names or not config.image_shape:
            raise CheckpointError(
                f"{source}: the config of a model of {config.dataset_name!r} must have class_names "
                "and image_shape; train it again with a dataset that returns both from "
                "model_facts()"
            )
        offered = {"num_classes": len(config.class_names), "in_channels": config.image_shape[0]}
    without_imports = dataclasses.replace(config, imports=[])
    if weights is not None:
        _check_sizes(partial(create_model_from_config, without_imports, offered), weights, source)
    try:
        model = create_model_from_config(without_imports, offered)
    except RaytuneOCRError:
        raise
    except Exception as error:  # of any model, with whatever sizes the file has
        reason = (str(error) or repr(error)).splitlines()[0]
        raise CheckpointError(f"{source}: its model cannot be built: {reason}") from error
    if config.dataset_name != KHMER_DIGITS:
        described: Any = model
        described.class_names, described.image_shape = config.class_names, config.image_shape
    return model


def _check_sizes(
    build: Callable[[], nn.Module], weights: Mapping[str, Any], source: str | os.PathLike[str]
) -> None:
    """Build a model without memory; raise CheckpointError if its weights have other sizes."""
    try:
        with torch.device("meta"):
            sizes = {name: list(value.shape) for name, value in build().state_dict().items()}
    except Exception:  # it cannot be built so; as it is, it may
        return
    for name, size in sizes.items():
        there = list(getattr(weights.get(name), "shape", ()))
        if there != size:
            raise CheckpointError(
                f"{source}: its weights do not fit its config: {name} must have the shape {size}, "
                f"got {there if name in weights else 'none'}"
            )


def load_model(
    path: str | os.PathLike[str], imports: Sequence[str] = ()
) -> tuple[nn.Module, TrainingConfig]:
    """The reader or classifier in a checkpoint, in evaluation mode on the CPU, and its config.

    Args:
        imports: modules to import first, for the models that they register. Modules that the file
            names are not imported: it may come from anybody.

    Raises:
        ConfigurationError: when the model needs a module that is not imported; names it.
        CheckpointError: when the file is missing, damaged or holds no model.
    """
    state = read_state(path)
    if "config" not in state or "model_state_dict" not in state:
        raise IncompleteCheckpointError(f"{path}: has no config beside its weights")
    if not isinstance(state["config"], Mapping):
        raise CheckpointError(f"{path}: its config must be a mapping, got {state['config']!r:.40}")
    config = TrainingConfig.from_dict(state["config"], environment={})
    weights = state["model_state_dict"]
    if not isinstance(weights, Mapping):
        raise CheckpointError(f"{path}: its weights must be a mapping, got {weights!r:.40}")
    model = rebuild_model(config, path, imports, weights)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: its weights do not match its config: {error}") from None
    return model.eval(), config


def load_reader(
    path: str | os.PathLike[str], imports: Sequence[str] = ()
) -> tuple[nn.Module, TrainingConfig]:
    """The reader in a checkpoint; see `load_model`.

    Raises:
        CheckpointError: also when it is no reader's.
    """
    model, config = load_model(path, imports)
    if config.dataset_name != KHMER_DIGITS:
        raise CheckpointError(
            f"{path}: must be a digit recognition model, got a model of {config.dataset_name!r}"
        )
    return model, config
