"""Normalise brightness, contrast and polarity of images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_GREY = (0.299, 0.587, 0.114)  # luma of red, green and blue, ITU-R BT.601
_TINY = torch.finfo(torch.float32).tiny
_FLAT = 1e-4  # an image that varies by less than this share of its brightest value is empty


class ImageNormalizer(nn.Module):
    """Grey, mean 0, ink some 1 above the background; no parameters, no state.

    Ink covers less of an image than its background, so the distribution of grey values leans
    towards the ink: the sign of the third moment tells light on dark from dark on light. An
    image and its negative come out equal. An image of one colour comes out as zeros.

    The unit is the root of the fourth moment over the second. Where a share p of an image is ink
    that stands out by c, that is c times the root of 1 - 3p + 3p^2: one digit in the middle of a
    page comes out as dark as eight that fill it. The standard deviation, c times the root of
    p - p^2, would make it up to five times as dark, and readers then take far longer to learn.
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
        deviation = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
        least = _FLAT * grey.abs().amax(dim=(2, 3), keepdim=True)
        # In two steps, so that no fourth power leaves the range of float32.
        standard = centred / torch.maximum(deviation, least).clamp_min(_TINY)
        squared = standard.square()
        kurtosis = squared.square().mean(dim=(2, 3), keepdim=True)
        skewed_down = (squared * standard).mean(dim=(2, 3), keepdim=True) < 0
        unit = kurtosis.clamp_min(1).sqrt()  # below 1 only where the image is empty
        return standard / torch.where(skewed_down, -unit, unit)


def _to_grey(images: Tensor) -> Tensor:
    """float [B, 1|3, H, W] as [B, 1, H, W]."""
    if images.shape[1] == 1:
        return images
    weights = images.new_tensor(_GREY).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True)
