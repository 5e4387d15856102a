"""Losses over logits and targets; PAD never counts, and CTC sees the digits alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from raytune_ocr.config.settings import LOSS_TYPES
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError, unknown_name
from raytune_ocr.vocabulary import BLANK_TOKEN_ID, EOS_TOKEN_ID, NUM_DIGITS, PAD_TOKEN_ID


class CrossEntropyLoss(nn.Module):
    """Cross-entropy over every position that is not PAD.

    Args:
        label_smoothing: share of the target spread over all classes, 0 <= s < 1.
    """

    def __init__(self, label_smoothing: float = 0.0, pad_token_id: int = PAD_TOKEN_ID) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.pad_token_id = pad_token_id

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of `predictions` [B, L, C] against `targets` int64 [B, L]."""
        return functional.cross_entropy(
            predictions.flatten(0, 1).float(),
            targets.flatten(),
            ignore_index=self.pad_token_id,
            label_smoothing=self.label_smoothing,
        )


class FocalLoss(nn.Module):
    """`alpha * (1 - p)^gamma * cross-entropy`, which dwells on what is still read badly.

    Lin et al., "Focal Loss for Dense Object Detection" (2017); gamma 0 and alpha 1 give
    cross-entropy.
    """

    def __init__(
        self, gamma: float = 2.0, alpha: float = 0.25, pad_token_id: int = PAD_TOKEN_ID
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.alpha = alpha
        self.pad_token_id = pad_token_id

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of `predictions` [B, L, C] against `targets` int64 [B, L]."""
        log_probs = functional.log_softmax(predictions.float(), dim=-1)
        counted = targets != self.pad_token_id
        of_target = targets.where(counted, torch.zeros_like(targets)).unsqueeze(-1)
        log_prob = log_probs.gather(-1, of_target).squeeze(-1)
        # A power below 1 is infinitely steep at 0, where a digit is read with certainty.
        missing = (1 - log_prob.exp()).clamp_min(torch.finfo(log_prob.dtype).eps)
        losses = -self.alpha * missing**self.gamma * log_prob
        return (losses * counted).sum() / counted.sum().clamp(min=1)


class CTCLoss(nn.Module):
    """Connectionist temporal classification (Graves et al., 2006); impossible pairs count zero."""

    def __init__(self, blank_token_id: int = BLANK_TOKEN_ID) -> None:
        super().__init__()
        self.blank_token_id = blank_token_id

    def forward(
        self,
        predictions: Tensor,
        targets: Tensor,
        input_lengths: Tensor | None = None,
        target_lengths: Tensor | None = None,
    ) -> Tensor:
        """Mean loss a digit of `predictions` [B, T, C] against the digits of `targets` [B, L].

        Args:
            input_lengths: columns to use, int64 [B] (default: all T).
            target_lengths: digits in each target, int64 [B] (default: those before EOS or PAD).
        """
        batch, columns, _ = predictions.shape
        if input_lengths is None:
            input_lengths = torch.full((batch,), columns, dtype=torch.long)
        if target_lengths is None:
            target_lengths = (targets < NUM_DIGITS).sum(dim=1)
        log_probs = functional.log_softmax(predictions.float(), dim=-1).transpose(0, 1)
        return functional.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            blank=self.blank_token_id,
            zero_infinity=True,
        )


class OCRLoss(nn.Module):
    """Any of the losses behind one call, with an optional CTC loss on the encoder beside it.

    Raises:
        ConfigurationError: for a loss type that does not exist.
    """

    def __init__(
        self,
        loss_type: str = "crossentropy",
        label_smoothing: float = 0.0,
        focal_gamma: float = 2.0,
        focal_alpha: float = 0.25,
        pad_token_id: int = PAD_TOKEN_ID,
        ctc_weight: float = 0.5,
    ) -> None:
        super().__init__()
        if loss_type not in LOSS_TYPES:
            raise ConfigurationError(f"loss_type: {unknown_name('loss', loss_type, LOSS_TYPES)}")
        self.loss_type = loss_type
        self.ctc_weight = ctc_weight
        self.ctc = CTCLoss()
        self.main: nn.Module = self.ctc
        if loss_type == "crossentropy":
            self.main = CrossEntropyLoss(label_smoothing, pad_token_id)
        elif loss_type == "focal":
            self.main = FocalLoss(focal_gamma, focal_alpha, pad_token_id)

    def forward(
        self, predictions: Tensor, targets: Tensor, ctc_logits: Tensor | None = None, **kwargs: Any
    ) -> dict[str, Tensor]:
        """`{"loss": total}`, and both parts apart where there are two.

        Args:
            predictions: logits [B, L, C], or [B, T, C] for CTC.
            targets: int64 [B, L]; where there are more logits than that, the rest is EOS.
            ctc_logits: an attention reader's encoder read by CTC, [B, T, C].
            **kwargs: passed to the loss (`input_lengths`, `target_lengths` for CTC).
        """
        missing = predictions.shape[1] - targets.shape[1]
        if self.main is not self.ctc and missing > 0:
            targets = functional.pad(targets, (0, missing), value=EOS_TOKEN_ID)
        main = self.main(predictions, targets, **kwargs)
        if ctc_logits is None or self.ctc_weight == 0:
            return {"loss": main}
        auxiliary = self.ctc(ctc_logits, targets)
        total = main + self.ctc_weight * auxiliary
        return {"loss": total, "main_loss": main.detach(), "ctc_loss": auxiliary.detach()}


def create_loss_function(loss: str | TrainingConfig, **kwargs: Any) -> OCRLoss:
    """An `OCRLoss` from a loss name with keywords, or from a config.

    Raises:
        ConfigurationError: for a loss type that does not exist.
    """
    if isinstance(loss, str):
        return OCRLoss(loss, **kwargs)
    settings = {
        "label_smoothing": loss.label_smoothing,
        "focal_gamma": loss.focal_gamma,
        "focal_alpha": loss.focal_alpha,
        "ctc_weight": loss.ctc_weight,
    }
    return OCRLoss(loss.loss_type, **{**settings, **kwargs})
