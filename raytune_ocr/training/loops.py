"""The loop with validation, augmentation and measurements of each epoch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from raytune_ocr.training.losses import takes
from raytune_ocr.training.trainer import Trainer

logger = logging.getLogger(__name__)

MEBIBYTE = 2**20

Augment = Callable[[Tensor, torch.Generator], Tensor]
TrainFigures = Callable[[int], Mapping[str, float]]
EvalFigures = Callable[[], Mapping[str, float]]


class Loop(Trainer):
    """The loop of the trainers that own their loaders: validates, augments and measures.

    Attributes:
        trains, validates: how its owner trains an epoch, from 0, and validates; None: by
            `train_pass` and `evaluate`. So an owner's subclass can have its own way.
        augment: changes training batches on the device; None: nothing does.
        seed: of what `augment` draws.
        batch_size: part of each epoch's metrics.
    """

    eval_prefix = "val"
    trains: TrainFigures | None = None
    validates: EvalFigures | None = None
    augment: Augment | None = None
    seed = 0
    batch_size = 0

    def train_epoch(
        self, train_dataloader: Any, eval_dataloader: Any = None, epoch: int = 0
    ) -> dict[str, float]:
        """Train as `Trainer.train_epoch`; add the model's size, and the memory and CPU use.

        `seconds` covers training and validation, `images_per_second` training alone.
        """
        self._seed_augment(epoch)  # for an owner that trains step by step
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
        metrics["model_parameters"] = sum(each.numel() for each in self.model.parameters())
        if self.device.type == "cuda":
            metrics["gpu_memory_mb"] = torch.cuda.max_memory_allocated(self.device) / MEBIBYTE
        return metrics

    def _train_figures(self, dataloader: Iterable[Any], epoch: int) -> Mapping[str, float]:
        own = self.trains
        return self.train_pass(dataloader, epoch) if own is None else own(epoch)

    def _eval_figures(self, dataloader: Iterable[Any]) -> Mapping[str, float]:
        own = self.validates
        return self.evaluate(dataloader) if own is None else own()

    def train_pass(self, dataloader: Iterable[Any], epoch: int = 0) -> dict[str, float]:
        self._seed_augment(epoch)
        return super().train_pass(dataloader, epoch)

    def _seed_augment(self, epoch: int) -> None:
        self._generator = torch.Generator(self.device)
        self._generator.manual_seed(self.seed * 1_000_003 + epoch)

    def _prepare_batch(self, batch: Any) -> tuple[Any, Any]:
        inputs, targets = super()._prepare_batch(batch)
        if self.augment is not None and self.model.training:
            inputs = self.augment(inputs, self._generator)
        return inputs, targets


class ReaderLoop(Loop):
    """The loop for readers: their outputs may hold `ctc_logits` beside their `logits`."""

    def _forward_pass(self, inputs: Any) -> Any:
        read = getattr(self.model, "read", self.model)
        return read(inputs)

    def _compute_loss(self, outputs: Any, targets: Tensor) -> Tensor:
        loss_fn, logits = self.loss_fn, getattr(outputs, "logits", outputs)
        auxiliary = getattr(outputs, "ctc_logits", None)
        if loss_fn is None or auxiliary is None or not self._trains_encoder(loss_fn):
            if isinstance(loss_fn, (nn.CrossEntropyLoss, nn.NLLLoss)):
                return loss_fn(logits.flatten(0, 1).float(), targets.flatten())
            return super()._compute_loss(outputs if loss_fn is None else logits, targets)
        loss = loss_fn(logits, targets, ctc_logits=auxiliary)
        return loss["loss"] if isinstance(loss, Mapping) else loss

    def _trains_encoder(self, loss_fn: Callable[..., Any]) -> bool:
        """Whether a loss takes the logits of the encoder's own CTC head; says so once if not."""
        if self._known_loss is not loss_fn:
            self._known_loss = loss_fn
            forward = loss_fn.forward if isinstance(loss_fn, nn.Module) else loss_fn
            self._takes_ctc = takes(forward, "ctc_logits")
            if not self._takes_ctc:
                logger.warning(
                    "%s takes no ctc_logits, so the CTC head of the encoder, on which the "
                    "attention decoder relies, is not trained",
                    type(loss_fn).__name__,
                )
        return self._takes_ctc

    _known_loss: Any = None
    _takes_ctc = False
