"""What trials need, known before the first one starts: their models, their data, their work."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from raytune_ocr.config.metrics import KHMER_DIGITS
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError, ModelCreationError
from raytune_ocr.results.record import TrialRecord

MODEL_SETTINGS = (
    "model_name",
    "model_config_path",
    "model_options",
    "vocab_size",
    "max_sequence_length",
    "gradient_checkpointing",
    "imports",
)


def load_data(records: Sequence[TrialRecord], allow_outside: bool) -> dict[str, Any]:
    """Datasets by `data_key`, each read once; the default digits are made if absent.

    Raises:
        ConfigurationError, DataLoaderError, ModelCreationError: what cannot be imported, built,
            read or is not there, as much as possible told before anything is read.
    """
    from raytune_ocr.config.training_config import data_key
    from raytune_ocr.data import create_dataset

    check_models(records)
    datasets: dict[str, Any] = {}
    for record in records:
        key = data_key(record.config)
        if key not in datasets:
            datasets[key] = create_dataset(record.config, allow_outside=allow_outside)
    for dataset in datasets.values():
        dataset.prepare()
    check_models(records, datasets)
    return datasets


def check_models(records: Sequence[TrialRecord], data: Mapping[str, Any] | None = None) -> None:
    """Build every model once: an unknown name or wrong options are told before Ray starts.

    Without `data`, only the readers are built; of other models the name is looked up.

    Raises:
        ModelCreationError: with all problems, one a line.
    """
    from raytune_ocr.config.training_config import data_key

    found: dict[str, str] = {}  # what is wrong, by the settings that a model depends on
    problems = []
    for record in records:
        config = record.config
        key = json.dumps([data_key(config), *(getattr(config, name) for name in MODEL_SETTINGS)])
        if key not in found:
            found[key] = _model_problem(config, data)
        if found[key]:
            problems.append(f"experiments.{record.name}.model: {found[key]}")
    if problems:
        raise ModelCreationError("\n".join(problems))


def _model_problem(config: TrainingConfig, data: Mapping[str, Any] | None) -> str:
    from raytune_ocr.config.training_config import data_key
    from raytune_ocr.models import ModelRegistry
    from raytune_ocr.plugins import import_modules
    from raytune_ocr.training import create_model_from_config

    try:
        import_modules(config.imports)
        if config.dataset_name == KHMER_DIGITS:
            create_model_from_config(config)
        elif data is None:
            ModelRegistry.factory(config.model_name)
        else:
            dataset = data[data_key(config)]
            create_model_from_config(config, dataset.model_arguments())
    except (ModelCreationError, ConfigurationError) as error:
        return str(error)
    return ""
