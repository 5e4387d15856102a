"""`OCRTrainer`: the one place that joins readers, images and the loop."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from raytune_ocr.config import DEFAULT_MODEL_CONFIG_PATH, TrainingConfig
from raytune_ocr.data import BatchAugment, create_data_loaders
from raytune_ocr.errors import CheckpointError
from raytune_ocr.models import create_model
from raytune_ocr.training.base import BaseTrainer, ValidatedTrainer
from raytune_ocr.training.callbacks import Callback, FunctionCallback
from raytune_ocr.training.checkpoint import read_state
from raytune_ocr.training.losses import create_loss_function
from raytune_ocr.training.metrics import OCRMetrics, analyze_errors, decoded_ids
from raytune_ocr.training.optim import get_device
from raytune_ocr.training.trainer import Metrics, Trainer, seed_everything
from raytune_ocr.vocabulary import DEFAULT_CHAR_TO_IDX, decode

STATE_NAME = "state.pt"
MEBIBYTE = 2**20


class ReaderLoop(ValidatedTrainer):
    """The loop for readers: batches are augmented on the device, encoders may be read by CTC."""

    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None
    seed = 0

    def train_epoch(
        self, train_dataloader: Any, eval_dataloader: Any = None, epoch: int = 0
    ) -> dict[str, float]:
        """As `Trainer.train_epoch`, with the process's memory and CPU use.

        `seconds` covers training and validation, `images_per_second` training alone.
        """
        self._generator = torch.Generator(self.device)
        self._generator.manual_seed(self.seed * 1_000_003 + epoch)
        process = psutil.Process()
        cpu_before, started = sum(process.cpu_times()[:2]), time.perf_counter()
        metrics = super().train_epoch(train_dataloader, eval_dataloader, epoch)
        seconds = time.perf_counter() - started
        cpu_seconds = sum(process.cpu_times()[:2]) - cpu_before
        metrics["images_per_second"] = metrics.pop("samples_per_second")
        metrics["seconds"] = seconds
        metrics["memory_mb"] = process.memory_info().rss / MEBIBYTE
        metrics["cpu_percent"] = 100 * cpu_seconds / max(seconds, 1e-9)
        if self.device.type == "cuda":
            metrics["gpu_memory_mb"] = torch.cuda.max_memory_allocated(self.device) / MEBIBYTE
        return metrics

    def _prepare_batch(self, batch: Any) -> tuple[Tensor, Tensor]:
        images, targets = super()._prepare_batch(batch)
        if self.augment is not None and self.model.training:
            images = self.augment(images, self._generator)
        return images, targets

    def _forward_pass(self, inputs: Tensor) -> Any:
        read = getattr(self.model, "read", self.model)
        return read(inputs)

    def _compute_loss(self, outputs: Any, targets: Tensor) -> Tensor:
        assert self.loss_fn is not None
        auxiliary = getattr(outputs, "ctc_logits", None)
        return self.loss_fn(_logits(outputs), targets, ctc_logits=auxiliary)["loss"]

    def _update_metrics(self, calculator: Metrics, outputs: Any, targets: Tensor) -> None:
        calculator.update(_logits(outputs), targets)


def _logits(outputs: Any) -> Tensor:
    return getattr(outputs, "logits", outputs)


class OCRTrainer(BaseTrainer):
    """Trains a reader of digit strings.

    Args:
        char_to_idx: ids by character (default: the package's vocabulary).

    The others are `BaseTrainer`'s. Batches are `(images uint8 [B, 1|3, H, W], targets int64
    [B, L])`; they are augmented when `config.augmentation` says so, never for validation.
    """

    def __init__(
        self,
        model: nn.Module,
        train_loader: DataLoader,
        val_loader: DataLoader,
        config: TrainingConfig,
        device: torch.device | str,
        char_to_idx: Mapping[str, int] | None = None,
        callbacks: Sequence[Callback | Callable[..., None]] = (),
    ) -> None:
        self.char_to_idx = dict(char_to_idx or DEFAULT_CHAR_TO_IDX)
        self.kind = getattr(model, "kind", "ctc" if config.loss_type == "ctc" else "attention")
        super().__init__(model, train_loader, val_loader, config, device, callbacks)

    def _create_loss_function(self) -> nn.Module:
        return create_loss_function(self.config)

    def _create_metrics_calculator(self) -> OCRMetrics:
        return OCRMetrics({i: char for char, i in self.char_to_idx.items()}, kind=self.kind)

    def _loop_class(self) -> type[Trainer]:
        return ReaderLoop

    def _create_loop(self) -> Trainer:
        loop = super()._create_loop()
        assert isinstance(loop, ReaderLoop)
        loop.seed = self.config.seed
        loop.augment = BatchAugment() if self.config.augmentation else None
        return loop

    def _decode_predictions(self, predictions: Tensor) -> list[str]:
        """Strings from logits [B, L, C] or [B, T, C], or from ids [B, L]."""
        return [decode(ids) for ids in decoded_ids(predictions, self.kind).tolist()]

    def _calculate_metrics(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        """The figures of `OCRMetrics.compute` for one batch."""
        calculator = self._create_metrics_calculator()
        calculator.update(predictions, targets)
        return calculator.compute()

    def _analyze_errors(self, predictions: Tensor, targets: Tensor) -> dict[str, Any]:
        """What goes wrong in a batch; see `analyze_errors`."""
        wanted = [decode(ids) for ids in targets.tolist()]
        return analyze_errors(self._decode_predictions(predictions), wanted)

    def _generate_confusion_matrix(self, predictions: Tensor, targets: Tensor) -> np.ndarray:
        """Counts [10, 10] of one batch: row the digit there, column the digit read."""
        calculator = self._create_metrics_calculator()
        calculator.update(predictions, targets)
        return calculator.get_confusion_matrix()

    def generate_confusion_matrix(
        self, picture: str | os.PathLike[str] | None = None
    ) -> np.ndarray:
        """Counts int64 [10, 10] on the validation split, drawn to `picture` if one is named."""
        self._validate_epoch()
        matrix = self.metrics.get_confusion_matrix()
        if picture is not None:
            from raytune_ocr.plots import draw_confusion_matrix, save_figure

            save_figure(picture, lambda axes: draw_confusion_matrix(axes, matrix))
        return matrix


def create_model_from_config(config: TrainingConfig) -> nn.Module:
    """The model that `config` names, with its YAML of overrides if that file exists.

    Raises:
        ModelCreationError, ConfigurationError: for an unknown name or overrides that do not fit.
    """
    default_is_absent = (
        config.model_config_path == DEFAULT_MODEL_CONFIG_PATH
        and not Path(config.model_config_path).exists()
    )
    overrides = {"gradient_checkpointing": True} if config.gradient_checkpointing else {}
    return create_model(
        config.model_name,
        vocab_size=config.vocab_size,
        max_sequence_length=config.max_sequence_length,
        config_path=None if default_is_absent else config.model_config_path,
        **overrides,
    )


def load_reader(path: str | os.PathLike[str]) -> tuple[nn.Module, TrainingConfig]:
    """The model in a checkpoint, in evaluation mode on the CPU, and the config it came from.

    Raises:
        CheckpointError: when the file is damaged or no reader's.
    """
    state = read_state(path)
    if "config" not in state or "model_state_dict" not in state:
        raise CheckpointError(f"{path}: holds no reader (no config beside its weights)")
    config = TrainingConfig.from_dict(state["config"], environment={})
    model = create_model_from_config(config)
    try:
        model.load_state_dict(state["model_state_dict"])
    except RuntimeError as error:
        raise CheckpointError(f"{path}: its weights do not fit its config: {error}") from None
    return model.eval(), config


def train_from_config(
    config: TrainingConfig,
    splits: Mapping[str, Any] | None = None,
    *,
    report: Callable[[dict[str, Any], str | None], None] | None = None,
    resume_from: str | os.PathLike[str] | None = None,
    callbacks: Sequence[Callback | Callable[..., None]] = (),
) -> dict[str, Any]:
    """Build everything that `config` names, train it, and return `OCRTrainer.train()`'s results.

    Args:
        splits: packed data by split name (default: read from `config.metadata_path`).
        report: called `(metrics, folder)` after each epoch; `folder` holds the state of that
            moment and exists only during the call. `metrics["epoch"]` counts from 1.
        resume_from: a state file or a folder that holds one; training goes on after it.

    Raises:
        ConfigurationError, DataLoaderError, ModelCreationError, CheckpointError, DivergenceError.
    """
    seed_everything(config.seed)
    train_loader, val_loader = create_data_loaders(config, splits=splits)
    device = get_device(config.device)
    model = create_model_from_config(config)
    trainer = OCRTrainer(model, train_loader, val_loader, config, device)
    trainer.callbacks = list(callbacks)
    if report is not None:
        trainer.reporters.append(FunctionCallback(_reporter(trainer, report)))
    if resume_from is not None:
        path = Path(resume_from)
        trainer.load_state(path / STATE_NAME if path.is_dir() else path)
        if report is not None and trainer.training_history:
            # Whoever listens may have missed the last words before the interruption.
            *history, last = trainer.training_history
            report({**_report_row(trainer, last), "history": history}, None)
    return trainer.train()


def _reporter(
    trainer: OCRTrainer, report: Callable[[dict[str, Any], str | None], None]
) -> Callable[..., None]:
    def report_epoch(loop: Trainer, epoch: int, metrics: dict[str, float]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            trainer.save_state(Path(folder) / STATE_NAME)
            report(_report_row(trainer, {"epoch": epoch + 1, **metrics}), folder)

    return report_epoch


def _report_row(trainer: OCRTrainer, metrics: Mapping[str, float]) -> dict[str, Any]:
    """An epoch's metrics, the running best, and why training ends, if it does."""
    monitor = trainer.config.early_stopping_monitor
    sign = 1 if trainer.config.early_stopping_mode == "max" else -1
    rows = [row for row in trainer.training_history if row[monitor] == row[monitor]]  # not NaN
    best = max(rows or [dict(metrics)], key=lambda row: sign * row[monitor])
    last = metrics["epoch"] >= trainer.config.num_epochs
    return {
        **metrics,
        "best_epoch": best["epoch"],
        "best_val_char_accuracy": best["val_char_accuracy"],
        "best_val_seq_accuracy": best["val_seq_accuracy"],
        "stop_reason": trainer.stop_reason or ("max_epochs" if last else ""),
    }
