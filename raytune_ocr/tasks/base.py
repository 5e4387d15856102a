"""The task seam: what a trial trains, and what its figures mean.

A task knows its data, its model and its metrics. It knows nothing of Ray, of schedulers or of the
files of results: those are told which figures there are and which is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from raytune_ocr.config.metrics import score_of
from raytune_ocr.config.training_config import TrainingConfig

Report = Callable[[dict[str, Any], "str | None"], None]
"""Takes the metrics of an epoch and a folder that holds the state of that moment, or None."""


class Metric(NamedTuple):
    """A figure of an epoch, and its direction: "max" or "min"."""

    name: str
    mode: str

    def score(self, row: Mapping[str, Any]) -> float:
        """The figure of an epoch, higher is better whatever the metric; NaN where it has none."""
        value = row.get(self.name, math.nan)
        if value is None:
            return math.nan
        return float(score_of(value, self.mode))


class Task:
    """What trials train. Subclasses say which figures they report and how they are trained.

    Attributes:
        columns: metrics of an epoch in the order of `epochs.csv`.
        figures: keys of a result in the JSON, and the metric of the best epoch that each holds.
        targets: names of goals, and the key of a result that each is compared with.
    """

    name: ClassVar[str]
    columns: ClassVar[Sequence[str]] = ()
    figures: ClassVar[Mapping[str, str]] = {}
    targets: ClassVar[Mapping[str, str]] = {}

    # What its figures mean

    def monitor(self, config: TrainingConfig) -> Metric:
        """The metric that schedulers compare and that chooses the best epoch."""
        return Metric(config.early_stopping_monitor, config.early_stopping_mode)

    def ranked_by(self, config: TrainingConfig) -> tuple[Metric, ...]:
        """The metrics of the best epoch that trials are ranked by; later ones break ties."""
        return self.monitor(config), Metric("val_loss", "min")

    def shown(self, config: TrainingConfig) -> dict[str, str]:
        """Labels of the terminal, and the metric that each shows."""
        name = self.monitor(config).name
        return {name.removeprefix("val_"): name}

    # How it is trained

    def check(self, config: TrainingConfig, data: Any = None) -> None:
        """Build the model of a trial, before any trial starts.

        Args:
            data: what `load` gave; None: it is not read yet, and what depends on it is not built.

        Raises:
            ConfigurationError, ModelCreationError: it cannot be built.
        """

    def load(self, config: TrainingConfig, allow_outside: bool) -> Any:
        """Find the data; it is shared by all trials of the same data settings.

        Raises:
            DataLoaderError: it is not there or cannot be used.
        """

    def prepare(self, data: Any) -> None:
        """Read the data into memory, once, before it is sent to nodes."""

    def data_fingerprint(self, data: Any) -> str:
        """Return a hash of the content of prepared data: "" where that is not known.

        A run is resumed only with data of the same hash.
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
        """Train as `config` says, with a report after each epoch.

        Args:
            data: what `prepare` gave.
            report: takes the metrics, `epoch` (from 1) and `stop_reason` among them.
            resume_from: a state to go on from.
        """
        raise NotImplementedError

    # What comes after

    def read_test_split(
        self, config: TrainingConfig, checkpoint: Path, best: Mapping[str, Any], allow_outside: bool
    ) -> dict[str, Any]:
        """Figures of the test split, `test_...`, each with an `..._interval`; {}: there are none.

        Args:
            best: the metrics of the best epoch.
        """
        return {}

    def log_picture(
        self, config: TrainingConfig, checkpoint: Path, data: Any, folder: Path, step: int
    ) -> None:
        """Add a picture of what the best model does to the TensorBoard files in `folder`."""
