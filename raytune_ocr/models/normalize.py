"""The one place where brightness, contrast and polarity of an image are made equal."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_GREY = (0.299, 0.587, 0.114)  # luma of red, green and blue, ITU-R BT.601
_FLAT = 1e-4  # an image that varies by less than this share of its brightest value is empty


class ImageNormalizer(nn.Module):
    """Grey, mean 0, contrast 1, ink above the background; no parameters, no state.

    Ink covers less of an image than its background, so the distribution of grey values leans
    towards the ink: the sign of the third moment tells light on dark from dark on light. An
    image and its negative come out equal. An image of one colour comes out as zeros.
    """

    def forward(self, images: Tensor) -> Tensor:
        """`images` uint8 or float [B, 1|3, H, W], of any range, as float32 [B, 1, H, W].

        Raises:
            ValueError: for any other number of dimensions or channels.
        """
        if images.dim() != 4 or images.shape[1] not in (1, 3):
            raise ValueError(f"images: must be [B, 1|3, H, W], got {list(images.shape)}")
        grey = _to_grey(images.float())
        centred = grey - grey.mean(dim=(2, 3), keepdim=True)
        squared = centred * centred
        contrast = squared.mean(dim=(2, 3), keepdim=True).sqrt()
        least = _FLAT * grey.abs().amax(dim=(2, 3), keepdim=True)
        skewed_down = (squared * centred).mean(dim=(2, 3), keepdim=True) < 0
        scale = torch.maximum(contrast, least).clamp_min(torch.finfo(torch.float32).tiny)
        return centred / torch.where(skewed_down, -scale, scale)


def _to_grey(images: Tensor) -> Tensor:
    """float [B, 1|3, H, W] as [B, 1, H, W]."""
    if images.shape[1] == 1:
        return images
    weights = images.new_tensor(_GREY).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True)
