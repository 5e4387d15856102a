"""The interface of tasks: what a trial trains, and its metrics.

A task knows its data, its model and its metrics. It does not know Ray, schedulers or the files of
results: these get the names and directions of its metrics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from raytune_ocr.config.metrics import score_of
from raytune_ocr.config.training_config import TrainingConfig, data_key
from raytune_ocr.errors import ConfigurationError, ModelCreationError, RaytuneOCRError

if TYPE_CHECKING:
    from raytune_ocr.training import BaseTrainer

Report = Callable[[dict[str, Any], "str | None"], None]
"""Takes the metrics of an epoch and the folder of its saved state, or None."""

REPORTED = "reported"
"""Key of a report: names of its metrics, in a task without `columns`."""

WITHOUT_STATE = "without_state"
"""Key of a report: nothing was saved that the trial could continue from."""

HYPERPARAMETERS = (
    *("model_name", "batch_size", "learning_rate", "weight_decay", "loss_type"),
    *("scheduler_type", "optimizer_type"),
)


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


@dataclass
class Parts:
    """What the project's loop trains.

    Attributes:
        model: its parameters are trained by the optimizer and schedule of the config.
        train_loader, val_loader: batches `(inputs, targets)`.
        loss: `(outputs, targets) -> loss`; None: the model returns its own loss.
        metrics: makes what measures predictions: `reset()`, `update(outputs, targets)` and
            `compute()`, a mapping of names to numbers. They are reported as `train_<name>` and
            `val_<name>`, beside the losses.
    """

    model: Any
    train_loader: Any
    val_loader: Any
    loss: Callable[..., Any] | None = None
    metrics: Callable[[], Any] | None = None


class Task:
    """What trials train. A subclass gives the data and the parts, or trains in its own way.

    Attributes:
        columns: metrics of an epoch in the order of `epochs.csv`; (): those that are reported.
        figures: keys of a result in the JSON, and the metric of the best epoch that each holds.
        targets: names of goals, and the key of a result that each is compared with.
        halves_batch: whether half the batch is tried where memory runs out.
    """

    name: ClassVar[str]
    columns: ClassVar[Sequence[str]] = ()
    figures: ClassVar[Mapping[str, str]] = {}
    targets: ClassVar[Mapping[str, str]] = {}
    halves_batch: ClassVar[bool] = True

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

    def hyperparameters(self, config: TrainingConfig) -> dict[str, Any]:
        """Return the settings of a trial that tables and the JSON show."""
        own = {f"parameters.{name}": value for name, value in config.parameters.items()}
        return {**own, **{name: getattr(config, name) for name in HYPERPARAMETERS}}

    # Its training

    def check(self, config: TrainingConfig, data: Any = None) -> None:
        """Build the model of a trial, before any trial starts.

        Args:
            data: from `prepare`; None: not read yet, so parts that depend on it are not built.

        Raises:
            ConfigurationError, ModelCreationError: it cannot be built.
        """
        if data is not None:
            self.build(config, data)

    def data_key(self, config: TrainingConfig) -> str:
        """A key that is the same for trials which share their data."""
        return data_key(config)

    def load(self, config: TrainingConfig, allow_outside: bool) -> Any:
        """Find the data, without reading it.

        Raises:
            DataLoaderError: the data are missing or cannot be used.
        """

    def prepare(self, config: TrainingConfig, data: Any) -> Any:
        """Return the data in memory: called once for each `data_key`, and sent to each node once.

        The generators are seeded.

        Args:
            data: what `load` gave.
        """
        return data

    def prepared(self, config: TrainingConfig, data: Any) -> Any:
        """`prepare` with seeded generators, which have their states back afterwards."""
        from raytune_ocr.training.checkpoints.rng import generators_kept

        with generators_kept():
            return self.prepare(config, data)

    def data_fingerprint(self, data: Any) -> str:
        """Return a hash of the content of prepared data; "" if unknown.

        A run resumes only with data of the same hash.
        """
        return ""

    def code_fingerprint(self, config: TrainingConfig) -> str:
        """Return a hash of the source that trains: "" where it is this package's."""
        return ""

    def build(self, config: TrainingConfig, data: Any) -> Parts:
        """Return what the loop trains; the generators are seeded before.

        Args:
            data: what `prepare` gave.
        """
        raise NotImplementedError(f"{type(self).__name__}: must have build(config, data)")

    def trainer(self, config: TrainingConfig, data: Any) -> BaseTrainer:
        """Return the trainer of a trial, around the project's loop.

        Raises:
            ModelCreationError: `build` raised.
        """
        from raytune_ocr.training.trainers.parts import PartsTrainer

        try:
            parts = self.build(config, data)
        except (RaytuneOCRError, MemoryError):
            raise
        except Exception as error:  # of a user's code, with values that do not suit it
            raise ModelCreationError(f"{type(self).__name__}.build: {error!r}") from error
        if not isinstance(parts, Parts):
            raise ConfigurationError(
                f"{type(self).__name__}.build: must return Parts, got {type(parts).__name__}"
            )
        return PartsTrainer(parts, config)

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
        from raytune_ocr.training.build import run_trainer
        from raytune_ocr.training.checkpoints.rng import seed_everything

        seed_everything(config.seed)
        run_trainer(self.trainer(config, data), report, resume_from, callbacks)

    # After training

    def load_model(self, config: TrainingConfig, state: Any, folder: Path | None) -> Any:
        """Return the trained model, for `export` and `predict`: here what `build` gives.

        Args:
            state: the weights of the model; of a training function what it has saved.
            folder: with the files that were saved, or None.
        """
        model = self.build(config, self.prepare(config, self.load(config, False))).model
        model.load_state_dict(state)
        return model.eval()

    def example_inputs(self, config: TrainingConfig) -> tuple[Any, ...] | None:
        """Return tensors that the model takes, for the export to ONNX; None: there is no export.

        The first axis of each may have any length.
        """
        return None

    def predict(self, config: TrainingConfig, model: Any, files: Sequence[Path]) -> Iterable[Any]:
        """Return for each file a text, or a text and its confidence.

        Raises:
            ConfigurationError: the task does not say how.
        """
        raise ConfigurationError(
            f"{config.trainable or self.name}: the command predict needs predict(model, files); "
            "define it in the module of the training function or as a method of the task"
        )

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
