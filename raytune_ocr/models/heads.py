"""Heads on the encoder's columns: a CTC head, and position queries on top of it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from raytune_ocr.vocabulary import BLANK_TOKEN_ID, EOS_TOKEN_ID, NUM_DIGITS, PAD_TOKEN_ID

_BLANK_BIAS = 4.0  # an untrained head then expects 5 digits in 32 columns, not 26
_NEVER_BIAS = -4.0
_SHARPNESS = 4.0  # of the attention at first, per squared digit of distance

_FAR = 3.0  # digits


class CTCHead(nn.Linear):
    """Columns [B, T, D] to CTC logits, float32 [B, T, C]."""

    def __init__(self, inputs: int, vocab_size: int, blank_bias: float = _BLANK_BIAS) -> None:
        super().__init__(inputs, vocab_size)
        with torch.no_grad():
            self.bias.zero_()
            self.bias[[EOS_TOKEN_ID, PAD_TOKEN_ID]] = _NEVER_BIAS  # no targets of CTC
            self.bias[BLANK_TOKEN_ID] = blank_bias

    def forward(self, columns: Tensor) -> Tensor:
        """Logits of `columns`."""
        return super().forward(columns).float()


class PositionHead(nn.Module):
    """Columns and their CTC logits to one output per position, float32 [B, L, C].

    The CTC posteriors show where a digit begins, and their running count gives its number.
    Position `i` attends to the columns at which the count passes `i + 1/2`; positions beyond
    the last digit attend to a learned end mark instead. Content attention refines the choice.
    What was attended answers twice, through the features and through the CTC posterior. The
    posterior is taken as given: no gradient flows back through it, so that a position that looks
    at the wrong column does not unteach the CTC head, and learning is twice as fast.

    Args:
        width: features of a column, D.
        vocab_size: classes, C.
        positions: answers to give, L.
        hidden: features of an answer.
        dropout: share of those dropped while training, 0 <= p < 1.
    """

    def __init__(
        self,
        width: int,
        vocab_size: int,
        positions: int,
        hidden: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(positions, width) * 0.02)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, hidden)
        self.end_value = nn.Parameter(torch.randn(hidden) * 0.02)
        self.end_key = nn.Parameter(torch.zeros(positions))
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(_SHARPNESS)))
        self.mix = nn.Parameter(torch.tensor(1.0))
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(hidden)
        self.classify = nn.Linear(hidden, vocab_size)

    def forward(self, columns: Tensor, ctc_logits: Tensor) -> Tensor:
        """Logits of `columns` [B, T, D], found by way of `ctc_logits` [B, T, C]."""
        posterior = ctc_logits.detach().softmax(dim=-1)
        attention = self.attend(columns, posterior)
        values = torch.cat([self.value(columns), self._end_mark(columns)], dim=1)
        found = torch.bmm(attention.to(values.dtype), values)
        answers = self.classify(self.dropout(functional.relu(self.norm(found)))).float()
        return answers + self.mix * self.read_posterior(attention, posterior)

    def _end_mark(self, columns: Tensor) -> Tensor:
        value = self.end_value.to(columns.dtype)
        return value.expand(columns.shape[0], 1, -1)

    def attend(self, columns: Tensor, posterior: Tensor) -> Tensor:
        """Attention [B, L, T + 1]; the last column is the end mark."""
        begun = digits_begun(posterior)
        count = begun.cumsum(dim=1)
        position = torch.arange(len(self.queries), device=columns.device).view(1, -1, 1)
        away = (count - begun / 2).unsqueeze(1) - (position + 0.5)
        end_away = (count[:, -1:].unsqueeze(1) - position).clamp_min(0)  # 0 beyond the last
        sharpness = self.log_sharpness.exp()
        content = functional.linear(self.key(columns), self.queries.to(columns.dtype))
        content = content.float().transpose(1, 2) / columns.shape[2] ** 0.5
        scores = content + (begun.unsqueeze(1) + 1e-4).log() - sharpness * _distance(away)
        end_scores = self.end_key.view(1, -1, 1) - sharpness * _distance(end_away)
        return torch.cat([scores, end_scores], dim=2).softmax(dim=2)

    def read_posterior(self, attention: Tensor, posterior: Tensor) -> Tensor:
        """Log of the attended share of each digit and of the end mark, [B, L, C]."""
        digits = posterior[..., :NUM_DIGITS]
        digits = digits / (digits.sum(dim=-1, keepdim=True) + 1e-6)
        share = torch.bmm(attention[..., :-1], digits)
        rest = attention.new_zeros(*share.shape[:2], posterior.shape[2] - NUM_DIGITS)
        rest[..., EOS_TOKEN_ID - NUM_DIGITS] = attention[..., -1]
        return (torch.cat([share, rest], dim=2) + 1e-3).log()


def _distance(away: Tensor) -> Tensor:
    """Squared distance in digits, bounded so that nothing ever gets an attention of 0."""
    return away.clamp(-_FAR, _FAR).square()


def digits_begun(posterior: Tensor) -> Tensor:
    """Expected number of digits that begin at each column, 0..1, [B, T].

    A digit begins where it is read and was not read one column before, as CTC decodes.
    """
    digits = posterior[..., :NUM_DIGITS]
    before = functional.pad(digits, (0, 0, 1, 0))[:, :-1]
    return (digits * (1 - before)).sum(dim=-1)
