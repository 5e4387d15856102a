"""The loop, what it is built from, and the trainers on top of it.

Names are loaded when they are first used: none of them is needed to answer `--help`.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "raytune_ocr.config": ["TrainingConfig"],
    "raytune_ocr.vocabulary": [
        "BLANK_TOKEN_ID",
        "DEFAULT_CHAR_TO_IDX",
        "DEFAULT_IDX_TO_CHAR",
        "EOS_TOKEN_ID",
        "PAD_TOKEN_ID",
    ],
    "raytune_ocr.training.base": ["BaseTrainer", "RunFolder"],
    "raytune_ocr.training.callbacks": ["Callback", "EarlyStopping"],
    "raytune_ocr.training.checkpoint": ["CheckpointManager"],
    "raytune_ocr.training.losses": [
        "CTCLoss",
        "CrossEntropyLoss",
        "FocalLoss",
        "OCRLoss",
        "create_loss_function",
    ],
    "raytune_ocr.training.metrics": [
        "ClassificationMetrics",
        "MetricsTracker",
        "OCRMetrics",
        "analyze_errors",
        "calculate_character_accuracy",
        "calculate_edit_distance",
        "calculate_sequence_accuracy",
        "create_metrics_calculator",
    ],
    "raytune_ocr.training.build": [
        "ClassifierTrainer",
        "create_model_from_config",
        "create_trainer",
        "load_reader",
        "train_from_config",
    ],
    "raytune_ocr.training.experiment": ["ExperimentManager", "ExperimentTrainer"],
    "raytune_ocr.training.ocr": ["OCRTrainer"],
    "raytune_ocr.training.optim": [
        "create_optimizer",
        "create_scheduler",
        "get_device",
        "setup_optimizer_and_scheduler",
        "setup_training_environment",
    ],
    "raytune_ocr.training.trainer": ["Trainer", "seed_everything"],
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
