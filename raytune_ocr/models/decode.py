"""Decode logits to ids: the most likely reading of every image, and its probability."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from raytune_ocr.vocabulary import (
    BLANK_TOKEN_ID,
    EOS_TOKEN_ID,
    NUM_DIGITS,
    PAD_TOKEN_ID,
    SEQUENCE_LENGTH,
)


def greedy_decode(
    logits: Tensor, kind: str, length: int = SEQUENCE_LENGTH
) -> tuple[Tensor, Tensor]:
    """Return ids and confidences of the most likely reading.

    Args:
        logits: float [B, L, C] of an attention reader or [B, T, C] of a CTC reader.
        kind: `attention` or `ctc`.
        length: ids to return of each image.

    Returns:
        ids int64 [B, length], digits and then EOS to the end, and confidences float32 [B],
        0..1: the product of the probabilities of the digits read (and of the end, if
        `attention`). A reading without a digit has confidence 0.

    Raises:
        ValueError: for another kind.
    """
    if kind == "ctc":
        return _decode_columns(logits.detach().float(), length)
    if kind == "attention":
        return _decode_positions(logits.detach().float(), length)
    raise ValueError(f"kind: must be attention or ctc, got {kind!r}")


def log_likelihood(logits: Tensor, kind: str, ids: Tensor) -> Tensor:
    """Return the log probability of a given reading under the logits, float32 [B].

    Args:
        logits: float [B, L, C] of an attention reader or [B, T, C] of a CTC reader.
        kind: `attention` (the positions up to the first EOS, which counts) or `ctc` (all ways
            of spelling it in T columns).
        ids: int64 [B, length], digits and then EOS, as `greedy_decode` gives them.

    Raises:
        ValueError: for another kind.
    """
    if kind == "ctc":
        columns = _without(logits.detach().float(), EOS_TOKEN_ID, PAD_TOKEN_ID).log_softmax(dim=-1)
        digits = ids.masked_fill(ids >= NUM_DIGITS, 0)
        return -functional.ctc_loss(
            columns.transpose(0, 1),
            digits,
            torch.full_like(ids[:, 0], columns.shape[1]),
            (ids < NUM_DIGITS).sum(dim=1),
            blank=BLANK_TOKEN_ID,
            reduction="none",
        )
    if kind == "attention":
        positions = _without(logits.detach().float(), PAD_TOKEN_ID, BLANK_TOKEN_ID)
        ids = ids[:, : positions.shape[1]]
        found = positions.log_softmax(dim=-1)[:, : ids.shape[1]].gather(2, ids.unsqueeze(2))
        counted = (ids == EOS_TOKEN_ID).cumsum(dim=1) <= 1  # a second EOS fills up
        return found.squeeze(2).masked_fill(~counted, 0).sum(dim=1)
    raise ValueError(f"kind: must be attention or ctc, got {kind!r}")


def _decode_positions(logits: Tensor, length: int) -> tuple[Tensor, Tensor]:
    probabilities = _without(logits, PAD_TOKEN_ID, BLANK_TOKEN_ID).softmax(dim=-1)
    best, ids = probabilities[..., : EOS_TOKEN_ID + 1].max(dim=-1)
    ended = (ids == EOS_TOKEN_ID).cumsum(dim=1)
    counted = (ended - (ids == EOS_TOKEN_ID).long()) == 0  # up to the first EOS, itself included
    confidence = best.where(counted, torch.ones_like(best)).prod(dim=1)
    ids = ids.masked_fill(ended > 0, EOS_TOKEN_ID)[:, :length]
    ids = functional.pad(ids, (0, length - ids.shape[1]), value=EOS_TOKEN_ID)
    return ids, confidence * (ids[:, 0] != EOS_TOKEN_ID)


def _decode_columns(logits: Tensor, length: int) -> tuple[Tensor, Tensor]:
    probabilities = _without(logits, EOS_TOKEN_ID, PAD_TOKEN_ID).softmax(dim=-1)
    best, path = probabilities[..., : BLANK_TOKEN_ID + 1].max(dim=-1)
    before = functional.pad(path, (1, 0), value=BLANK_TOKEN_ID)[:, :-1]
    is_digit = path < NUM_DIGITS
    begins = is_digit & (path != before)
    # The slot of a column is the number of the digit it belongs to; the last one is thrown away.
    slot = (begins.cumsum(dim=1) - 1).clamp(0, length)
    ids = path.new_full((len(path), length + 1), EOS_TOKEN_ID)
    ids.scatter_(1, slot.masked_fill(~begins, length), path)
    peaks = best.new_zeros(len(path), length + 1)
    peaks.scatter_reduce_(1, slot.masked_fill(~is_digit, length), best, "amax")
    ids = ids[:, :length]
    confidence = peaks[:, :length].where(ids != EOS_TOKEN_ID, torch.ones_like(best[:, :1]))
    return ids, confidence.prod(dim=1) * (ids[:, 0] != EOS_TOKEN_ID)


def _without(logits: Tensor, *classes: int) -> Tensor:
    """Return `logits` with some classes masked."""
    impossible = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
    impossible[list(classes)] = True
    return logits.masked_fill(impossible, float("-inf"))
