"""Hyper-parameter tuning on Ray Tune for a reader of Khmer digits.

The public names are loaded when they are first used, so that `import raytune_ocr` and every
`--help` answer at once.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "raytune_ocr.config": ["TrainingConfig"],
    "raytune_ocr.data": ["KhmerDigitsDataset", "create_data_loaders"],
    "raytune_ocr.models": ["ModelRegistry", "create_model"],
    "raytune_ocr.training": ["OCRTrainer", "Trainer"],
    "raytune_ocr.tune": ["HyperparameterTuner", "load_results"],
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME_OF]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
