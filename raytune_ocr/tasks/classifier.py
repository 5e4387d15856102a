"""The task of image classifiers on any registered dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.tasks.base import HYPERPARAMETERS, Task

if TYPE_CHECKING:
    from raytune_ocr.training import BaseTrainer


class ClassifierTask(Task):
    """Trains the model and the dataset that a config names."""

    name: ClassVar[str] = "classifier"
    columns: ClassVar[tuple[str, ...]] = (
        "train_loss",
        "val_loss",
        "train_accuracy",
        "val_accuracy",
    )
    figures: ClassVar[dict[str, str]] = {"best_val_accuracy": "val_accuracy"}
    targets: ClassVar[dict[str, str]] = {"accuracy": "best_val_accuracy"}

    def hyperparameters(self, config: TrainingConfig) -> dict[str, Any]:
        """The main settings of its model and training."""
        return {name: getattr(config, name) for name in HYPERPARAMETERS}

    def check(self, config: TrainingConfig, data: Any = None) -> None:
        """Build the model; without data, only check its name."""
        from raytune_ocr.models import ModelRegistry
        from raytune_ocr.training import create_model_from_config

        if data is None:
            ModelRegistry.factory(config.model_name)
        else:
            create_model_from_config(config, data.model_arguments())

    def load(self, config: TrainingConfig, allow_outside: bool) -> Any:
        """Find the dataset."""
        from raytune_ocr.data import create_dataset

        return create_dataset(config, allow_outside=allow_outside)

    def prepare(self, config: TrainingConfig, data: Any) -> Any:
        """Read it into memory."""
        data.prepare()
        return data

    def data_fingerprint(self, data: Any) -> str:
        """Return the dataset's hash; a user's class may have none."""
        fingerprint = getattr(data, "fingerprint", None)
        return str(fingerprint()) if callable(fingerprint) else ""

    def trainer(self, config: TrainingConfig, data: Any) -> BaseTrainer:
        """The trainer of the model and the dataset that a config names."""
        from raytune_ocr.training import create_trainer

        return create_trainer(config, data)
