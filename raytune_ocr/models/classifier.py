"""A small classifier of images of any size; nothing here is about digits or strings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from raytune_ocr.models.registry import ModelRegistry


@ModelRegistry.register("image_classifier")
class ImageClassifier(nn.Module):
    """Convolutions that halve the resolution, the mean over what is left, one linear layer.

    Args:
        num_classes: >= 2.
        in_channels: 1 for grey, 3 for colour.
        width: channels after the first convolution; each later one has twice as many.
        depth: convolutions, 1 to 6.
        dropout: share of features dropped before the linear layer, 0 <= p < 1.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1,
        width: int = 16,
        depth: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for stage in range(depth):
            out = width * 2**stage
            layers += [
                nn.Conv2d(channels, out, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(),
            ]
            channels = out
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits float [B, num_classes] of images [B, C, H, W], uint8 or float of any scale."""
        images = images.float()
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        spread = images.std(dim=(1, 2, 3), keepdim=True)
        normal = (images - mean) / spread.clamp_min(1e-6)
        return self.head(torch.mean(self.features(normal), dim=(2, 3)))
