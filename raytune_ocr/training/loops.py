"""The loop with validation, augmentation and measurements of each epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psutil
import torch
from torch import Tensor

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.training.trainer import Metrics, Trainer

MEBIBYTE = 2**20


Augment = Callable[[Tensor, torch.Generator], Tensor]


class ValidatedTrainer(Trainer):
    """The loop with `val_` before what is measured on the validation split."""

    eval_prefix = "val"


class MeasuredLoop(ValidatedTrainer):
    """The loop that augments batches on the device and measures what an epoch takes."""

    augment: Augment | None = None
    seed = 0
    batch_size = 0

    def train_epoch(
        self, train_dataloader: Any, eval_dataloader: Any = None, epoch: int = 0
    ) -> dict[str, float]:
        """As `Trainer.train_epoch`, with the process's memory and CPU use.

        `seconds` covers training and validation, `images_per_second` training alone.
        """
        self._generator = torch.Generator(self.device)
        self._generator.manual_seed(self.seed * 1_000_003 + epoch)
        cpu_before, started = time.process_time(), time.perf_counter()
        metrics = super().train_epoch(train_dataloader, eval_dataloader, epoch)
        seconds = time.perf_counter() - started
        cpu_seconds = time.process_time() - cpu_before  # of all its threads
        metrics["images_per_second"] = metrics.pop("samples_per_second")
        metrics["batch_size"] = self.batch_size  # less than at first, where memory ran out
        metrics["threads"] = torch.get_num_threads()  # figures are the same only with as many
        metrics["seconds"] = seconds
        metrics["memory_mb"] = psutil.Process().memory_info().rss / MEBIBYTE
        metrics["cpu_percent"] = 100 * cpu_seconds / max(seconds, 1e-9)
        if self.device.type == "cuda":
            metrics["gpu_memory_mb"] = torch.cuda.max_memory_allocated(self.device) / MEBIBYTE
        return metrics

    def _prepare_batch(self, batch: Any) -> tuple[Any, Any]:
        inputs, targets = super()._prepare_batch(batch)
        if self.augment is not None and self.model.training:
            inputs = self.augment(inputs, self._generator)
        return inputs, targets


def loop_settings(config: TrainingConfig) -> dict[str, Any]:
    """The settings that the loop itself reads, by its own names."""
    return {
        "max_grad_norm": config.gradient_clip_norm,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "mixed_precision": config.mixed_precision,
        "ema_decay": config.ema_decay,
    }


class ReaderLoop(MeasuredLoop):
    """The loop for readers, whose encoders may also be read by CTC."""

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
