"""Readers: normaliser, encoder and head in one module, from pixels to logits."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from raytune_ocr.models.encoder import ColumnEncoder
from raytune_ocr.models.heads import CTCHead, PositionHead
from raytune_ocr.models.normalize import ImageNormalizer
from raytune_ocr.models.presets import Architecture, Kind
from raytune_ocr.vocabulary import IMAGE_HEIGHT, IMAGE_WIDTH


class ReaderOutput(NamedTuple):
    """`logits` float32 [B, L, C] or [B, T, C]; `ctc_logits` [B, T, C] of an attention reader."""

    logits: Tensor
    ctc_logits: Tensor | None


class Reader(nn.Module):
    """The base of readers: from images to columns, and the column-wise head.

    Attributes:
        kind: `attention` or `ctc`, the meaning of the logits' second dimension.
        config: plain values that rebuild it.
    """

    kind: Kind

    def __init__(
        self, architecture: Architecture, vocab_size: int, max_sequence_length: int
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "vocab_size": vocab_size,
            "max_sequence_length": max_sequence_length,
            **architecture.to_dict(),
        }
        self.normalize = ImageNormalizer()
        self.encoder = ColumnEncoder(
            channels=architecture.channels,
            temporal_width=architecture.temporal_width,
            dilations=architecture.dilations,
            dropout=architecture.dropout,
            gradient_checkpointing=architecture.gradient_checkpointing,
            patch=architecture.patch,
            blocks=architecture.blocks,
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ctc_head = CTCHead(architecture.temporal_width, vocab_size)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, float32, of `images` uint8 or float [B, 1|3, 64, 128] of any range."""
        return self.read(images).logits

    def read(self, images: Tensor) -> ReaderOutput:
        """Logits, and those of the auxiliary CTC head where there is one.

        Raises:
            ValueError: if `images` has another shape than [B, 1|3, 64, 128].
        """
        raise NotImplementedError

    def _columns(self, images: Tensor) -> Tensor:
        """Encoded columns [B, T, D] of `images`."""
        if images.shape[-2:] != (IMAGE_HEIGHT, IMAGE_WIDTH):
            size = f"[B, 1|3, {IMAGE_HEIGHT}, {IMAGE_WIDTH}]"
            raise ValueError(f"images: must be {size}, got {list(images.shape)}")
        columns: Tensor = self.encoder(self.normalize(images))
        return columns


class CTCReader(Reader):
    """Answers column by column: logits [B, T, C], T = 32, so that any eight digits fit."""

    kind: Kind = "ctc"

    def read(self, images: Tensor) -> ReaderOutput:
        return ReaderOutput(self.ctc_head(self._columns(images)), None)


class AttentionReader(Reader):
    """Answers position by position: logits [B, L, C], with CTC logits [B, T, C] beside them.

    It needs no target to read, so that training, validation and prediction are one path. Train
    it with a CTC loss on `ctc_logits`: the positions find their digits through them.
    """

    kind: Kind = "attention"

    def __init__(
        self, architecture: Architecture, vocab_size: int, max_sequence_length: int
    ) -> None:
        super().__init__(architecture, vocab_size, max_sequence_length)
        self.position_head = PositionHead(
            architecture.temporal_width,
            vocab_size,
            positions=max_sequence_length,
            hidden=architecture.hidden,
            dropout=architecture.dropout,
        )

    def read(self, images: Tensor) -> ReaderOutput:
        columns = self._columns(images)
        ctc_logits = self.ctc_head(columns)
        return ReaderOutput(self.position_head(columns, ctc_logits), ctc_logits)


READERS: dict[Kind, type[Reader]] = {"attention": AttentionReader, "ctc": CTCReader}
