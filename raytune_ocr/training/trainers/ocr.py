"""`OCRTrainer`: trains readers of digit strings, with their losses and metrics."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import BatchAugment
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.models import Reader
from raytune_ocr.plots import draw_confusion_matrix, save_figure
from raytune_ocr.training.callbacks.base import Callback
from raytune_ocr.training.decoding import KHMER, decoded_ids
from raytune_ocr.training.evaluate import PREDICTIONS, prediction_sheet
from raytune_ocr.training.loops import Loop, ReaderLoop
from raytune_ocr.training.losses import create_loss_function
from raytune_ocr.training.metrics import OCRMetrics, analyze_errors
from raytune_ocr.training.trainers.base import BaseTrainer
from raytune_ocr.vocabulary import DEFAULT_CHAR_TO_IDX, Vocabulary


def kind_of(model: nn.Module, config: TrainingConfig) -> str:
    """Return how a reader's logits are decoded: by its `kind`, else by its loss."""
    return getattr(model, "kind", "ctc" if config.loss_type == "ctc" else "attention")


class OCRTrainer(BaseTrainer):
    """Trains a reader of digit strings.

    Args:
        char_to_idx: ids by character (default: the package's vocabulary). `<EOS>`, `<PAD>` and
            `<BLANK>` in it are the ids of these tokens in the targets, the loss and the metrics.

    The others are `BaseTrainer`'s. Batches are `(images uint8 [B, 1|3, H, W], targets int64
    [B, L])`; they are augmented when `config.augmentation` says so, never for validation.

    Raises:
        ConfigurationError: when `char_to_idx` contradicts the model, or breaks a rule.
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
        self.kind = kind_of(model, config)
        self.vocabulary = OCRMetrics(_characters(self.char_to_idx)).vocabulary
        check_vocabulary(self.vocabulary, model)
        super().__init__(model, train_loader, val_loader, config, device, callbacks)

    def _create_loss_function(self) -> nn.Module:
        tokens = self.vocabulary
        ids: dict[str, Any] = {"pad_token_id": tokens.pad, "eos_token_id": tokens.eos}
        if tokens.blank is not None:
            ids["blank_token_id"] = tokens.blank
        return create_loss_function(self.config, **ids)

    def _create_metrics_calculator(self) -> OCRMetrics:
        return OCRMetrics(_characters(self.char_to_idx), kind=self.kind)

    def _loop_class(self) -> type[Loop]:
        return ReaderLoop

    def _create_augment(self) -> BatchAugment | None:
        return BatchAugment()

    def _pictures(self) -> dict[str, np.ndarray]:
        """The first validation images, each under what is read in it; of digits alone."""
        if not self.vocabulary.is_of_digits:
            return {}
        images, targets = next(iter(self.val_loader))
        return {PREDICTIONS: prediction_sheet(self.model, images, targets, self.kind)}

    def _decode_predictions(self, predictions: Tensor) -> list[str]:
        """Strings from logits [B, L, C] or [B, T, C], or from ids [B, L]."""
        read = decoded_ids(predictions, self.kind, self.vocabulary)
        return [self.vocabulary.decode(ids) for ids in read.tolist()]

    # The next three are named by the documents.

    def _calculate_metrics(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        """The figures of `OCRMetrics.compute` for one batch."""
        return self._measured(predictions, targets).compute()

    def _analyze_errors(self, predictions: Tensor, targets: Tensor) -> dict[str, Any]:
        """Analyse the errors of a batch; see `analyze_errors`."""
        wanted = [self.vocabulary.decode(ids) for ids in targets.tolist()]
        return analyze_errors(self._decode_predictions(predictions), wanted)

    def _generate_confusion_matrix(self, predictions: Tensor, targets: Tensor) -> np.ndarray:
        """Counts [10, 10] of one batch: row the digit there, column the digit read."""
        return self._measured(predictions, targets).get_confusion_matrix()

    def _measured(self, predictions: Tensor, targets: Tensor) -> OCRMetrics:
        calculator = OCRMetrics(_characters(self.char_to_idx), kind=self.kind)
        calculator.update(predictions, targets)
        return calculator

    def generate_confusion_matrix(
        self, picture: str | os.PathLike[str] | None = None
    ) -> np.ndarray:
        """Counts int64 [10, 10] on the validation split, drawn to `picture` if one is named."""
        self._validate_epoch()
        matrix = self.metrics.get_confusion_matrix()
        if picture is not None:
            save_figure(picture, lambda figure: draw_confusion_matrix(figure, matrix))
        return matrix


def _characters(char_to_idx: Mapping[str, int]) -> dict[int, str]:
    """Characters by id; raises ConfigurationError where two have the same."""
    characters = {index: char for char, index in char_to_idx.items()}
    if len(characters) != len(char_to_idx):
        raise ConfigurationError("char_to_idx: must give each character a different id")
    return characters


def check_vocabulary(vocabulary: Vocabulary, model: nn.Module) -> None:
    """Raise ConfigurationError where ids contradict those that are built into our readers."""
    if not isinstance(model, Reader) or vocabulary.is_of_digits:
        return
    ids = {"<EOS>": KHMER.eos, "<PAD>": KHMER.pad, "<BLANK>": KHMER.blank}
    raise ConfigurationError(
        f"char_to_idx: must give ten digits the ids 0 to 9 for a {type(model).__name__}, and "
        f"{', '.join(f'{token} the id {index}' for token, index in ids.items())}, got letters "
        f"{sorted(vocabulary.letters)}, <EOS> {vocabulary.eos}, <PAD> {vocabulary.pad}, <BLANK> "
        f"{vocabulary.blank}; give a model of your own for other ids"
    )
