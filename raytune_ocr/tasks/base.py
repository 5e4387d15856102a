"""The interface of tasks: what a trial trains, and its metrics.

A task knows its data, its model and its metrics. It does not know Ray, schedulers or the files of
results: these get the names and directions of its metrics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from raytune_ocr.config.metrics import score_of
from raytune_ocr.config.training_config import TrainingConfig

Report = Callable[[dict[str, Any], "str | None"], None]
"""Takes the metrics of an epoch and the folder of its saved state, or None."""


class Metric(NamedTuple):
    """A metric and its direction: "max" or "min"."""

    name: str
    mode: str

    def score(self, row: Mapping[str, Any]) -> float:
        """Return the metric of an epoch, negated for "min": higher is better; NaN if missing."""
        value = row.get(self.name, math.nan)
        if value is None:
            return math.nan
        return float(score_of(value, self.mode))


class Task:
    """The base of tasks. Subclasses define the metrics and the training.

    Attributes:
        columns: metrics of an epoch in the order of `epochs.csv`.
        figures: keys of a result in the JSON, with the metric of the best epoch of each.
        targets: names of goals, with the key of a result that each is compared with.
    """

    name: ClassVar[str]
    columns: ClassVar[Sequence[str]] = ()
    figures: ClassVar[Mapping[str, str]] = {}
    targets: ClassVar[Mapping[str, str]] = {}

    # Its metrics

    def monitor(self, config: TrainingConfig) -> Metric:
        """Return the metric that schedulers compare and that chooses the best epoch."""
        return Metric(config.early_stopping_monitor, config.early_stopping_mode)

    def ranked_by(self, config: TrainingConfig) -> tuple[Metric, ...]:
        """Return the metrics of the best epoch that rank trials; later ones break ties."""
        return self.monitor(config), Metric("val_loss", "min")

    def shown(self, config: TrainingConfig) -> dict[str, str]:
        """Return labels for the terminal, with the metric of each."""
        name = self.monitor(config).name
        return {name.removeprefix("val_"): name}

    # Its training

    def check(self, config: TrainingConfig, data: Any = None) -> None:
        """Build the model of a trial, before any trial starts.

        Args:
            data: from `load`; None: not read yet, so parts that depend on it are not built.

        Raises:
            ConfigurationError, ModelCreationError: it cannot be built.
        """

    def load(self, config: TrainingConfig, allow_outside: bool) -> Any:
        """Load the data, which all trials with the same data settings share.

        Raises:
            DataLoaderError: the data are missing or cannot be used.
        """

    def prepare(self, data: Any) -> None:
        """Read the data into memory, once, before it is sent to nodes."""

    def data_fingerprint(self, data: Any) -> str:
        """Return a hash of the content of prepared data; "" if unknown.

        A run resumes only with data of the same hash.
        """
        return ""

    def train(
        self,
        config: TrainingConfig,
        data: Any,
        report: Report,
        resume_from: Path | None = None,
        callbacks: Sequence[Any] = (),
    ) -> None:
        """Train `config`, with a report after each epoch.

        Args:
            data: prepared data.
            report: takes the metrics, including `epoch` (from 1) and `stop_reason`.
            resume_from: a state to continue from.
        """
        raise NotImplementedError

    # After training

    def read_test_split(
        self, config: TrainingConfig, checkpoint: Path, best: Mapping[str, Any], allow_outside: bool
    ) -> dict[str, Any]:
        """Return test metrics, `test_...`, each with an `..._interval`; {} if there are none.

        Args:
            best: the metrics of the best epoch.
        """
        return {}

    def log_picture(
        self, config: TrainingConfig, checkpoint: Path, data: Any, folder: Path, step: int
    ) -> None:
        """Add an image with the best model's predictions to the TensorBoard files in `folder`."""
