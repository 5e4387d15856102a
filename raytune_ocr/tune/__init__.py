"""Tuning: a YAML of presets, Ray trials, results. Ray and pandas are imported below here only.

Names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "raytune_ocr.config": ["TrainingConfig"],
    "raytune_ocr.data": ["create_data_loaders"],
    "raytune_ocr.errors": [
        "ConfigurationError",
        "DataLoaderError",
        "ExperimentFailedError",
        "ModelCreationError",
    ],
    "raytune_ocr.training": [
        "create_loss_function",
        "create_model_from_config",
        "create_optimizer",
        "create_scheduler",
        "setup_training_environment",
    ],
    "raytune_ocr.tune.analysis": ["best", "compare", "learning_curves"],
    "raytune_ocr.tune.results": ["load_results"],
    "raytune_ocr.tune.sections": ["create_training_config"],
    "raytune_ocr.tune.space": ["load_space"],
    "raytune_ocr.tune.options": ["TuneOptions"],
    "raytune_ocr.tune.tuner": ["HyperparameterTuner"],
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
