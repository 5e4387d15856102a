"""Hyper-parameter tuning on Ray Tune, born for a reader of Khmer digits."""

from raytune_ocr.lazy import lazy_names
from raytune_ocr.version import __version__

__getattr__, _names = lazy_names(
    __name__,
    {
        "raytune_ocr.config": ["TrainingConfig"],
        "raytune_ocr.data": ["KhmerDigitsDataset", "create_data_loaders"],
        "raytune_ocr.inference.model": ["load"],
        "raytune_ocr.models": ["ModelRegistry", "create_model"],
        "raytune_ocr.training": ["OCRTrainer", "Trainer"],
        "raytune_ocr.tune": ["HyperparameterTuner", "load_results"],
    },
)
__all__ = ["__version__", *_names]
