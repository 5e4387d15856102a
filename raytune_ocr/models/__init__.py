"""Readers of digit strings: modules, presets, registry and decoding."""

from raytune_ocr.models.classifier import ImageClassifier
from raytune_ocr.models.decode import greedy_decode, log_likelihood
from raytune_ocr.models.describe import describe_models, flops, format_models
from raytune_ocr.models.encoder import folded
from raytune_ocr.models.normalize import ImageNormalizer
from raytune_ocr.models.presets import ALIASES, PRESETS, Architecture
from raytune_ocr.models.readers import AttentionReader, CTCReader, Reader, ReaderOutput
from raytune_ocr.models.registry import (
    ModelRegistry,
    check_settings,
    create_model,
    parameter_count,
    settings_of_file,
)

__all__ = [
    "ALIASES",
    "PRESETS",
    "Architecture",
    "AttentionReader",
    "CTCReader",
    "ImageClassifier",
    "ImageNormalizer",
    "ModelRegistry",
    "Reader",
    "ReaderOutput",
    "check_settings",
    "create_model",
    "describe_models",
    "flops",
    "folded",
    "format_models",
    "greedy_decode",
    "log_likelihood",
    "parameter_count",
    "settings_of_file",
]
