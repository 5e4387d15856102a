"""Load the data and build each model once, before the first trial starts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from raytune_ocr.errors import ConfigurationError, ModelCreationError
from raytune_ocr.plugins import import_modules
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.training.checkpoints.rng import generators_kept
from raytune_ocr.tune.execution.trial_errors import own_frames, shown, traceback_of

MODEL_SETTINGS = (
    "model_name",
    "model_config_path",
    "model_options",
    "vocab_size",
    "max_sequence_length",
    "gradient_checkpointing",
    "imports",
    "trainable",
    "task",
    "parameters",
)

Invalid = tuple[TrialRecord, str]
"""A trial with a model that cannot be built, and why."""


def load_data(
    records: Sequence[TrialRecord], allow_outside: bool
) -> tuple[dict[str, Any], list[Invalid]]:
    """Read the data of trials, and build each model once, before Ray starts.

    Returns:
        Datasets by `data_key`, each read once; and the draws of a search with models that cannot
        be built.

    Raises:
        ConfigurationError, DataLoaderError, ModelCreationError: something cannot be imported, built
            or read, or is missing; as many problems as possible before data are read.
    """
    invalid = check_models(records)
    datasets: dict[str, Any] = {}
    first: dict[str, TrialRecord] = {}
    for record in records:
        key = record.task.data_key(record.config)
        if key not in datasets:
            first[key] = record
            datasets[key] = record.task.load(record.config, allow_outside)
    for key, record in first.items():
        datasets[key] = record.task.prepared(record.config, datasets[key])
    return datasets, [*invalid, *check_models(records, datasets)]


def check_models(
    records: Sequence[TrialRecord], data: Mapping[str, Any] | None = None
) -> list[Invalid]:
    """Build every model once; return the draws of a search for which that fails.

    Raises:
        ModelCreationError: the model of a preset, or of every trial, cannot be built; with all
            problems, one per line.
    """
    found: dict[str, str] = {}  # problems by the settings that a model depends on
    problems: list[Invalid] = []
    for record in records:
        config = record.config
        settings = (getattr(config, name) for name in MODEL_SETTINGS)
        key = json.dumps([record.task.data_key(config), *settings])
        if key not in found:
            found[key] = _model_problem(record, data)
        if found[key]:
            problems.append((record, found[key]))
    of_presets = any(not record.search for record, _ in problems)
    if of_presets or (problems and len(problems) == len(records)):
        lines = (f"experiments.{record.name}.model: {problem}" for record, problem in problems)
        raise ModelCreationError("\n".join(lines))
    return problems


def _model_problem(record: TrialRecord, data: Mapping[str, Any] | None) -> str:
    try:
        import_modules(record.config.imports)
        task, config = record.task, record.config
        with generators_kept():
            task.check(config, None if data is None else data[task.data_key(config)])
    except (ModelCreationError, ConfigurationError) as error:
        return str(error)
    except Exception as error:  # a user's model may raise anything
        at = own_frames(traceback_of(error))[-1:]
        return shown(" ".join([f"{type(error).__name__}: {error}", *(f"({one})" for one in at)]))
    return ""
