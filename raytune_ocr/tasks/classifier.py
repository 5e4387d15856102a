"""The task of image classifiers on any registered dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.tasks.base import Report, Task


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

    def prepare(self, data: Any) -> None:
        """Read it into memory."""
        data.prepare()

    def data_fingerprint(self, data: Any) -> str:
        """Return the dataset's hash; a user's class may have none."""
        fingerprint = getattr(data, "fingerprint", None)
        return str(fingerprint()) if callable(fingerprint) else ""

    def train(
        self,
        config: TrainingConfig,
        data: Any,
        report: Report,
        resume_from: Path | None = None,
        callbacks: Sequence[Any] = (),
    ) -> None:
        """Train on the project's own loop."""
        from raytune_ocr.training import train_from_config

        train_from_config(config, data, report=report, resume_from=resume_from, callbacks=callbacks)
