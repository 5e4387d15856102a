"""From a normalised image to a row of columns, each of which has seen most of the image.

Pixels become patches at once (a quarter of the resolution), a few strided convolutions bring
the height down to one row, and dilated residual convolutions along that row let neighbouring
digits tell each other where one ends and the next begins.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from raytune_ocr.vocabulary import IMAGE_HEIGHT, IMAGE_WIDTH

PATCH = 4  # pixels on a side
COLUMNS = IMAGE_WIDTH // PATCH
_ROWS = IMAGE_HEIGHT // PATCH


class ConvNorm(nn.Sequential):
    """Convolution that keeps the width, batch norm, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, int], *, stride: int = 1,
        dilation: int = 1,
    ) -> None:  # fmt: skip
        rows, columns = kernel
        padding = (rows // 2 if rows == columns else 0, dilation * (columns // 2))
        super().__init__(
            nn.Conv2d(
                inputs,
                outputs,
                kernel,
                stride=(stride, 1),
                padding=padding,
                dilation=(1, dilation),
                bias=False,
            ),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class TemporalBlock(nn.Module):
    """Residual convolution along the columns: [B, D, 1, T] to the same shape."""

    def __init__(self, width: int, dilation: int, kernel: int = 3, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = ConvNorm(width, width, (1, kernel), dilation=dilation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, columns: Tensor) -> Tensor:
        mixed: Tensor = columns + self.dropout(self.conv(columns))
        return mixed


class ColumnEncoder(nn.Module):
    """Images [B, 1, 64, 128] to columns [B, T, D], T = 32, D = `temporal_width`.

    Args:
        channels: channels of the patch convolution and of each strided one after it; every
            one after the first halves the height.
        temporal_width: features of a column.
        dilations: one temporal block each.
        dropout: share of features dropped in the temporal blocks, 0 <= p < 1.
        gradient_checkpointing: compute the activations of each stage again in the backward
            pass instead of keeping them.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 64),
        temporal_width: int = 96,
        dilations: Sequence[int] = (1, 2, 4, 8),
        dropout: float = 0.0,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = gradient_checkpointing
        stages: list[nn.Module] = [ConvNorm(PATCH * PATCH, channels[0], (3, 3))]
        rows = _ROWS
        for inputs, outputs in itertools.pairwise(channels):
            stages.append(ConvNorm(inputs, outputs, (3, 3), stride=2))
            rows = -(-rows // 2)
        stages.append(ConvNorm(channels[-1], temporal_width, (rows, 1)))
        stages += [TemporalBlock(temporal_width, d, dropout=dropout) for d in dilations]
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> Tensor:
        """Columns [B, T, D] of normalised `images` [B, 1, 64, 128]."""
        features = functional.pixel_unshuffle(images, PATCH)
        features = features.contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            features = self._run(stage, features)
        return features.squeeze(2).transpose(1, 2)

    def _run(self, stage: nn.Module, features: Tensor) -> Tensor:
        if not (self.gradient_checkpointing and torch.is_grad_enabled()):
            result: Tensor = stage(features)
            return result
        recomputed: Tensor = checkpoint(
            stage,
            features,
            use_reentrant=False,
            context_fn=lambda: (contextlib.nullcontext(), _statistics_kept(stage)),
        )
        return recomputed


@contextlib.contextmanager
def _statistics_kept(stage: nn.Module) -> Iterator[None]:
    """Hold batch norm's running statistics still: the second pass must not count twice."""
    norms = [module for module in stage.modules() if isinstance(module, nn.BatchNorm2d)]
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, batches in kept:
            norm.momentum, norm.num_batches_tracked = momentum, batches
