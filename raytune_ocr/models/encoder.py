"""The encoder: a normalised image to a row of columns, each with most of the image in view.

Pixels become patches at once, a few convolutions bring the columns down to 32 and the rows to a
few, and the maximum over a column's rows is kept, so that the vertical position of a line does not
matter. Dilated residual convolutions along that row pass information between neighbouring digits
about where one ends and the next begins.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.checkpoint import checkpoint

from raytune_ocr.vocabulary import IMAGE_WIDTH

COLUMN = 4  # pixels that a column is wide
COLUMNS = IMAGE_WIDTH // COLUMN
_FIRST_GAIN = 0.1  # initial gain of the neighbours' features


class ConvNorm(nn.Sequential):
    """Convolution, batch norm, ReLU; without a stride the size stays as it is."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        dilation: int = 1,
    ) -> None:
        rows, columns = kernel
        super().__init__(
            nn.Conv2d(
                inputs,
                outputs,
                kernel,
                stride=stride,
                padding=(rows // 2, dilation * (columns // 2)),
                dilation=(1, dilation),
                bias=False,
            ),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


def folded(model: nn.Module) -> nn.Module:
    """Return a copy for inference, with batch norms folded into the convolutions.

    Logits differ only by rounding; inference is about a quarter faster. A model without `ConvNorm`,
    or a folded one, is returned as it is.
    """
    if not _foldable(model):
        return model
    reader = copy.deepcopy(model).eval()
    for block in _foldable(reader):
        convolution, norm, _ = block
        block[0] = fuse_conv_bn_eval(convolution, norm)  # type: ignore[arg-type, type-var]
        block[1] = nn.Identity()
    return reader


def _foldable(model: nn.Module) -> list[ConvNorm]:
    """The blocks with a batch norm that is not folded yet."""
    blocks = (module for module in model.modules() if isinstance(module, ConvNorm))
    return [block for block in blocks if isinstance(block[1], nn.BatchNorm2d)]


class CollapseRows(nn.Module):
    """The strongest of each feature over the rows, [B, C, R, T] to [B, D, 1, T]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mix = ConvNorm(inputs, outputs, (1, 1))

    def forward(self, features: Tensor) -> Tensor:
        # As amax over the rows; the gradient of pooling goes to one row and takes half the time.
        strongest = functional.max_pool2d(features, (features.shape[2], 1))
        columns: Tensor = self.mix(strongest)
        return columns


class ResidualBlock(nn.Module):
    """Residual convolution in both directions: [B, C, R, T] to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvNorm(channels, channels, (3, 3))

    def forward(self, features: Tensor) -> Tensor:
        mixed: Tensor = features + self.conv(features)
        return mixed


class TemporalBlock(nn.Module):
    """Residual convolution along the columns: [B, D, 1, T] to the same shape.

    Its residual starts small, so that a column first learns to read its own view. Otherwise CTC may
    settle on emitting a lone digit at a column far from it, and images with digits outside that
    column's view are misread for long: after 64,000 images one in four, mostly with the digit on
    the right.
    """

    def __init__(self, width: int, dilation: int, kernel: int = 3, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = ConvNorm(width, width, (1, kernel), dilation=dilation)
        nn.init.constant_(self.conv[1].weight, _FIRST_GAIN)  # type: ignore[arg-type]
        self.dropout = nn.Dropout(dropout)

    def forward(self, columns: Tensor) -> Tensor:
        mixed: Tensor = columns + self.dropout(self.conv(columns))
        return mixed


class ColumnEncoder(nn.Module):
    """Images [B, 1, 64, 128] to columns [B, T, D], T = 32, D = `temporal_width`.

    Args:
        channels: of the convolution on the patches, and of each one after it. They halve the
            height, and the width until a column is 4 pixels wide.
        patch: pixels on a side, 2 or 4; with 4 all work is done at a quarter of the resolution,
            where wide convolutions are what a processor does best.
        blocks: residual convolutions at each stage but the last.
        temporal_width: features of a column.
        dilations: one temporal block each.
        dropout: share of features dropped in the temporal blocks, 0 <= p < 1.
        gradient_checkpointing: compute the activations of each stage again in the backward
            pass instead of keeping them.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 64, 64),
        temporal_width: int = 96,
        dilations: Sequence[int] = (1, 2, 4, 8),
        dropout: float = 0.0,
        gradient_checkpointing: bool = False,
        patch: int = 2,
        blocks: int = 0,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = gradient_checkpointing
        self.patch = patch
        stages: list[nn.Module] = [ConvNorm(patch * patch, channels[0], (3, 3))]
        width = patch
        for inputs, outputs in itertools.pairwise(channels):
            stages += [ResidualBlock(inputs) for _ in range(blocks)]
            narrower = 2 if width < COLUMN else 1
            stages.append(ConvNorm(inputs, outputs, (3, 3), (2, narrower)))
            width *= narrower
        stages.append(CollapseRows(channels[-1], temporal_width))
        stages += [TemporalBlock(temporal_width, d, dropout=dropout) for d in dilations]
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> Tensor:
        """Columns [B, T, D] of normalised `images` [B, 1, 64, 128]."""
        features = functional.pixel_unshuffle(images, self.patch)
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
