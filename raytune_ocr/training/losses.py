"""Losses over logits and targets; PAD never counts, and CTC sees the letters alone."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.loss import _Loss

from raytune_ocr.config.settings import LOSS_TYPES, check
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError, unknown_name
from raytune_ocr.training.loop_settings import member
from raytune_ocr.vocabulary import BLANK_TOKEN_ID, EOS_TOKEN_ID, PAD_TOKEN_ID


class CrossEntropyLoss(nn.Module):
    """Cross-entropy over every position that is not PAD; 0 where all are.

    Args:
        label_smoothing: share of the target spread over all classes, >= 0 and < 1.

    Raises:
        ConfigurationError: for another `label_smoothing`.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        pad_token_id: int = PAD_TOKEN_ID,
        eos_token_id: int = EOS_TOKEN_ID,
    ) -> None:
        super().__init__()
        self.label_smoothing = check("label_smoothing", label_smoothing)
        self.pad_token_id = pad_token_id
        self.eos_token_id = eos_token_id

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of `predictions` [B, L, C] against `targets` int64 [B, L].

        Where there are more predictions than targets, the others have to answer EOS.
        """
        targets = _lengthened(targets, predictions.shape[1], self.eos_token_id, self.pad_token_id)
        if (targets == self.pad_token_id).all():
            return _zero(predictions)
        return functional.cross_entropy(
            predictions.flatten(0, 1).float(),
            targets.flatten(),
            ignore_index=self.pad_token_id,
            label_smoothing=self.label_smoothing,
        )


class FocalLoss(nn.Module):
    """`alpha * (1 - p)^gamma * cross-entropy`, which weighs badly read positions more.

    Lin et al., "Focal Loss for Dense Object Detection" (2017); gamma 0 and alpha 1 give
    cross-entropy. With label smoothing, it is the sum of that loss over all classes, each times
    its share of the smoothed target.

    Args:
        label_smoothing: share of the target spread over all classes, >= 0 and < 1.

    Raises:
        ConfigurationError: for another `label_smoothing`.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float = 0.25,
        pad_token_id: int = PAD_TOKEN_ID,
        label_smoothing: float = 0.0,
        eos_token_id: int = EOS_TOKEN_ID,
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.alpha = alpha
        self.pad_token_id = pad_token_id
        self.label_smoothing = check("label_smoothing", label_smoothing)
        self.eos_token_id = eos_token_id

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of `predictions` [B, L, C] against `targets` int64 [B, L].

        Where there are more predictions than targets, the others have to answer EOS.
        """
        targets = _lengthened(targets, predictions.shape[1], self.eos_token_id, self.pad_token_id)
        log_probs = functional.log_softmax(predictions.float(), dim=-1)
        counted = targets != self.pad_token_id
        of_target = targets.where(counted, torch.zeros_like(targets)).unsqueeze(-1)
        losses = self._focal(log_probs.gather(-1, of_target).squeeze(-1))
        if self.label_smoothing > 0:
            everywhere = self._focal(log_probs).mean(dim=-1)
            losses = torch.lerp(losses, everywhere, self.label_smoothing)
        return (losses * counted).sum() / counted.sum().clamp(min=1)

    def _focal(self, log_prob: Tensor) -> Tensor:
        # A power below 1 is infinitely steep at 0, where a digit is read with certainty.
        missing = (1 - log_prob.exp()).clamp_min(torch.finfo(log_prob.dtype).eps)
        return -self.alpha * missing**self.gamma * log_prob


class CTCLoss(nn.Module):
    """Connectionist temporal classification (Graves et al., 2006); impossible pairs count zero.

    With label smoothing, the divergence of the columns from the uniform distribution is mixed in
    (Kim et al., "Improved training for online end-to-end speech recognition systems", 2018).

    Args:
        label_smoothing: the share of that divergence, >= 0 and < 1.

    Raises:
        ConfigurationError: for another `label_smoothing`.
    """

    def __init__(
        self,
        blank_token_id: int = BLANK_TOKEN_ID,
        pad_token_id: int = PAD_TOKEN_ID,
        eos_token_id: int = EOS_TOKEN_ID,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.blank_token_id = blank_token_id
        self.pad_token_id = pad_token_id
        self.eos_token_id = eos_token_id
        self.label_smoothing = check("label_smoothing", label_smoothing)

    def forward(
        self,
        predictions: Tensor,
        targets: Tensor,
        input_lengths: Tensor | None = None,
        target_lengths: Tensor | None = None,
    ) -> Tensor:
        """Mean loss a letter of `predictions` [B, T, C] against the letters of `targets` [B, L].

        Rows of `targets` that hold only PAD do not count.

        Args:
            input_lengths: columns to use, int64 [B] (default: all T).
            target_lengths: letters in each target, int64 [B] (default: those before EOS or PAD).
        """
        batch, columns, _ = predictions.shape
        if input_lengths is None:
            input_lengths = torch.full((batch,), columns, dtype=torch.long)
        if target_lengths is None:
            ends = (targets == self.eos_token_id) | (targets == self.pad_token_id)
            target_lengths = (ends.cumsum(dim=1) == 0).sum(dim=1)
        counted = (targets != self.pad_token_id).any(dim=1)
        if not counted.all():
            if not counted.any():
                return _zero(predictions)
            predictions, targets = predictions[counted], targets[counted]
            input_lengths = input_lengths[counted.to(input_lengths.device)]
            target_lengths = target_lengths[counted.to(target_lengths.device)]
        log_probs = functional.log_softmax(predictions.float(), dim=-1).transpose(0, 1)
        loss = functional.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            blank=self.blank_token_id,
            zero_infinity=True,
        )
        if self.label_smoothing > 0:
            return torch.lerp(loss, -log_probs.mean(), self.label_smoothing)
        return loss


class OCRLoss(nn.Module):
    """Any of the losses behind one call, with an optional CTC loss on the encoder beside it.

    Args:
        loss_type: crossentropy, focal or ctc.
        label_smoothing: of that loss, >= 0 and < 1.
        ctc_weight: of the CTC loss on an attention reader's encoder; 0: none.

    Raises:
        ConfigurationError: for a loss type that does not exist, or another `label_smoothing`.
    """

    def __init__(
        self,
        loss_type: str = "crossentropy",
        label_smoothing: float = 0.0,
        focal_gamma: float = 2.0,
        focal_alpha: float = 0.25,
        pad_token_id: int = PAD_TOKEN_ID,
        ctc_weight: float = 0.5,
        blank_token_id: int = BLANK_TOKEN_ID,
        eos_token_id: int = EOS_TOKEN_ID,
    ) -> None:
        super().__init__()
        if loss_type not in LOSS_TYPES:
            raise ConfigurationError(f"loss_type: {unknown_name('loss', loss_type, LOSS_TYPES)}")
        self.loss_type = loss_type
        self.ctc_weight = ctc_weight
        ends = {"pad_token_id": pad_token_id, "eos_token_id": eos_token_id}
        self.ctc = CTCLoss(blank_token_id, **ends)
        self.main: nn.Module = CTCLoss(blank_token_id, label_smoothing=label_smoothing, **ends)
        if loss_type == "crossentropy":
            self.main = CrossEntropyLoss(label_smoothing, **ends)
        elif loss_type == "focal":
            self.main = FocalLoss(focal_gamma, focal_alpha, label_smoothing=label_smoothing, **ends)

    def forward(
        self, predictions: Tensor, targets: Tensor, ctc_logits: Tensor | None = None, **kwargs: Any
    ) -> dict[str, Tensor]:
        """`{"loss": total}`, and both parts apart where there are two.

        Args:
            predictions: logits [B, L, C], or [B, T, C] for CTC.
            targets: int64 [B, L].
            ctc_logits: an attention reader's encoder read by CTC, [B, T, C].
            **kwargs: `input_lengths` and `target_lengths` go to CTC; other losses need none.
        """
        needed = {name: value for name, value in kwargs.items() if takes(self.main.forward, name)}
        main = self.main(predictions, targets, **needed)
        if ctc_logits is None or self.ctc_weight == 0:
            return {"loss": main}
        auxiliary = self.ctc(ctc_logits, targets)
        total = main + self.ctc_weight * auxiliary
        return {"loss": total, "main_loss": main.detach(), "ctc_loss": auxiliary.detach()}


def create_loss_function(
    loss_type: str | TrainingConfig | None = None,
    *,
    config: TrainingConfig | None = None,
    **kwargs: Any,
) -> OCRLoss:
    """An `OCRLoss` from a loss name with keywords, or from a config.

    Args:
        loss_type: a name, or a config.
        config: alternative name of the config argument.
        **kwargs: of `OCRLoss`; `gamma` and `alpha` are those of the focal loss.

    Raises:
        ConfigurationError: for a loss type that does not exist, or a keyword that it does not take.
    """
    settings: dict[str, Any] = {}
    if isinstance(loss_type, TrainingConfig):
        loss_type, config = None, loss_type
    if config is not None:
        names = ("loss_type", "label_smoothing", "focal_gamma", "focal_alpha", "ctc_weight")
        settings = {name: getattr(config, name) for name in names}
    if loss_type is not None:
        settings["loss_type"] = loss_type
    name = settings.get("loss_type", "crossentropy")
    short = {"gamma": "focal_gamma", "alpha": "focal_alpha"} if name == "focal" else {}
    for keyword, value in kwargs.items():
        if not takes(OCRLoss.__init__, short.get(keyword, keyword)):
            known = [*inspect.signature(OCRLoss).parameters, *short]
            raise ConfigurationError(f"{name}: {unknown_name('argument', keyword, known)}")
        settings[short.get(keyword, keyword)] = value
    return OCRLoss(**settings)


def loss_of(loss_fn: Callable[..., Any], outputs: Any, targets: Any) -> Any:
    """Return the result of `loss_fn` on a model's outputs: a tensor, or a mapping with "loss".

    The losses of `torch.nn` and `torch.nn.functional`, also in a `functools.partial`, get the
    `logits` of outputs that have some, as an attribute or a key.

    Raises:
        ConfigurationError: for a batch without targets, and for logits of sequences that a loss
            of PyTorch would take for classes.
    """
    if targets is None:
        raise ConfigurationError(
            "loss_fn: needs targets, but the batch has none; name them labels or label in it, or "
            "give loss_fn=None to a model that computes its own loss"
        )
    plain = loss_fn.func if isinstance(loss_fn, functools.partial) else loss_fn
    of_torch = isinstance(plain, _Loss) or _home(plain) == functional.__name__
    logits = member(outputs, "logits")
    if not of_torch or logits is None:
        return loss_fn(outputs, targets)
    by_class = isinstance(plain, nn.CrossEntropyLoss) or plain is functional.cross_entropy
    if by_class and logits.ndim == 3 and targets.ndim == 2:
        raise ConfigurationError(
            f"loss_fn: must take logits [B, L, C], as the model returns them (here "
            f"{list(logits.shape)}), but takes [B, C, L]; give loss_fn=None, so that the model "
            "computes its own loss, or a loss_fn that flattens the logits"
        )
    return loss_fn(logits, targets)


def set_label_smoothing(loss_fn: nn.Module, label_smoothing: float) -> None:
    """Set the label smoothing of a loss and of the losses in it, but of an auxiliary CTC loss."""
    auxiliary = loss_fn.ctc if isinstance(loss_fn, OCRLoss) else None
    for part in loss_fn.modules():
        if part is not auxiliary and "label_smoothing" in vars(part):
            part.label_smoothing = label_smoothing  # type: ignore[assignment]


def takes(function: Callable[..., Any], name: str) -> bool:
    """Whether `function` can be called with a keyword of that name."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some of those written in C have none
        return False
    any_keyword = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return name in parameters or any_keyword


def _home(function: Any) -> str:
    return getattr(function, "__module__", None) or ""


def _lengthened(targets: Tensor, length: int, eos_token_id: int, pad_token_id: int) -> Tensor:
    """Targets [B, L] filled with EOS to [B, length], rows of PAD alone with PAD.

    Targets that are at least as long stay as they are.
    """
    missing = length - targets.shape[1]
    if missing <= 0:
        return targets
    empty = (targets == pad_token_id).all(dim=1, keepdim=True)
    filled = functional.pad(targets, (0, missing), value=eos_token_id)
    return filled.masked_fill(empty, pad_token_id)


def _zero(predictions: Tensor) -> Tensor:
    """0 with gradients of 0, the loss of a batch in which nothing counts."""
    return 0.0 * predictions.float().sum()
