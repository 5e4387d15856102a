"""Images and labels: glyphs, the synthetic set, readers of files, batches, augmentation."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "raytune_ocr.data.augment": ["BatchAugment"],
    "raytune_ocr.data.dataset": ["EpochSampler", "KhmerDigitsDataset", "create_data_loaders"],
    "raytune_ocr.data.generator": ["ensure_default_data", "generate_dataset"],
    "raytune_ocr.data.glyphs": ["DEVELOPMENT_FAMILIES", "RESERVED_FAMILIES", "GlyphSheet"],
    "raytune_ocr.data.images": ["to_canvas"],
    "raytune_ocr.data.packed": ["PackedSplit"],
    "raytune_ocr.data.readers": ["load_split", "load_splits"],
    "raytune_ocr.data.datasets": ["ImageFolder", "KhmerDigits"],
    "raytune_ocr.data.registry": ["BaseDataset", "DatasetRegistry", "create_dataset"],
    "raytune_ocr.data.synthetic": ["SyntheticComposer"],
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        if _HOME_OF[name] == "raytune_ocr.data.registry":  # complete with its own datasets in it
            importlib.import_module("raytune_ocr.data.datasets")
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
