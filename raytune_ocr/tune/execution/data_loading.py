"""What trials need, known before the first one starts: their models, their data, their work."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from raytune_ocr.config.training_config import data_key
from raytune_ocr.errors import ConfigurationError, ModelCreationError
from raytune_ocr.plugins import import_modules
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tasks.base import Task

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
    """Datasets by `data_key`, each read once.

    Raises:
        ConfigurationError, DataLoaderError, ModelCreationError: what cannot be imported, built,
            read or is not there, as much as possible told before anything is read.
    """
    check_models(records)
    datasets: dict[str, Any] = {}
    tasks: dict[str, Task] = {}
    for record in records:
        key = data_key(record.config)
        if key not in datasets:
            tasks[key] = record.task
            datasets[key] = record.task.load(record.config, allow_outside)
    for key, dataset in datasets.items():
        tasks[key].prepare(dataset)
    check_models(records, datasets)
    return datasets


def check_models(records: Sequence[TrialRecord], data: Mapping[str, Any] | None = None) -> None:
    """Build every model once: an unknown name or wrong options are told before Ray starts.

    Raises:
        ModelCreationError: with all problems, one a line.
    """
    found: dict[str, str] = {}  # what is wrong, by the settings that a model depends on
    problems = []
    for record in records:
        config = record.config
        key = json.dumps([data_key(config), *(getattr(config, name) for name in MODEL_SETTINGS)])
        if key not in found:
            found[key] = _model_problem(record, data)
        if found[key]:
            problems.append(f"experiments.{record.name}.model: {found[key]}")
    if problems:
        raise ModelCreationError("\n".join(problems))


def _model_problem(record: TrialRecord, data: Mapping[str, Any] | None) -> str:
    try:
        import_modules(record.config.imports)
        record.task.check(record.config, None if data is None else data[data_key(record.config)])
    except (ModelCreationError, ConfigurationError) as error:
        return str(error)
    return ""
