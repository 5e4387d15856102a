"""Settings of a training: the dataclass, the rules, YAML and environment."""

from raytune_ocr.config.training_config import TrainingConfig

__all__ = ["TrainingConfig"]
