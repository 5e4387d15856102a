"""Decode predictions to ids for metrics, for any vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.models.decode import greedy_decode
from raytune_ocr.vocabulary import DEFAULT_IDX_TO_CHAR, EOS_TOKEN_ID, PAD_TOKEN_ID, Vocabulary

KHMER = Vocabulary.of(DEFAULT_IDX_TO_CHAR)


def canonical_ids(
    ids: Tensor, pad_token_id: int = PAD_TOKEN_ID, eos_token_id: int = EOS_TOKEN_ID
) -> Tensor:
    """`ids` [B, L] with everything from the first EOS or PAD on set to EOS."""
    ended = ((ids == eos_token_id) | (ids == pad_token_id)).cummax(dim=1).values
    return ids.masked_fill(ended, eos_token_id)


def decoded_ids(
    predictions: Tensor, kind: str = "attention", vocabulary: Vocabulary = KHMER
) -> Tensor:
    """Predicted ids int64 [B, L], EOS to fill, from logits of a `kind` of reader or from ids.

    Raises:
        ValueError: for another kind than attention or ctc.
    """
    if predictions.is_floating_point() and vocabulary.is_of_digits:
        return greedy_decode(predictions, kind)[0]
    ids = _greedy(predictions, kind, vocabulary) if predictions.is_floating_point() else predictions
    return canonical_ids(ids, vocabulary.pad, vocabulary.eos)


def _greedy(logits: Tensor, kind: str, vocabulary: Vocabulary) -> Tensor:
    """The likeliest ids of a vocabulary other than the package's, as `greedy_decode` finds them."""
    if kind not in ("attention", "ctc"):
        raise ValueError(f"kind: must be attention or ctc, got {kind!r}")
    blank = vocabulary.blank
    if kind == "attention":
        return _without(logits, vocabulary.pad, blank).argmax(dim=-1)
    if blank is None:
        raise ConfigurationError("idx_to_char: must have <BLANK> for a CTC model")
    path = _without(logits, vocabulary.eos, vocabulary.pad).argmax(dim=-1)
    before = torch.nn.functional.pad(path, (1, 0), value=blank)[:, :-1]
    begins = (path != blank) & (path != before)
    in_front = begins.logical_not().int().sort(dim=1, stable=True).indices
    ids = path.masked_fill(~begins, vocabulary.eos)
    return ids.gather(1, in_front)


def _without(logits: Tensor, *ids: int | None) -> Tensor:
    """`logits` with some classes made impossible, where there are such classes."""
    impossible = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
    impossible[[i for i in ids if i is not None and i < logits.shape[-1]]] = True
    return logits.masked_fill(impossible, float("-inf"))


def class_table(vocabulary: Vocabulary) -> Tensor:
    """Return the class of each id for counting, int64 [ids + 1].

    Of K letters each has its place in the order of ids, EOS and PAD are K, BLANK is K + 2, and any
    other id, the last entry included, is K + 1.
    """
    letters = sorted(vocabulary.letters)
    special = [i for i in (vocabulary.eos, vocabulary.pad, vocabulary.blank) if i is not None]
    table = torch.full((max([*letters, *special]) + 2,), len(letters) + 1)
    table[letters] = torch.arange(len(letters))
    table[[vocabulary.eos, vocabulary.pad]] = len(letters)
    if vocabulary.blank is not None:
        table[vocabulary.blank] = len(letters) + 2
    return table
