"""Augment whole batches on their device, with one random generator."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

GREY = 255.0


class BatchAugment:
    """Rotates, shears, scales and shifts images, and changes contrast, stroke, sharpness and noise.

    Args:
        strength: of everything; 1 is the usual: turns of 1.5 degrees, 5 % of scale and
            1 % of width (standard deviations).
        negatives: invert every other image; right for ink on paper, because readers ignore
            polarity, wrong for photographs.

    Raises:
        ValueError: for a negative strength.
    """

    def __init__(self, strength: float = 1.0, negatives: bool = True) -> None:
        if strength < 0:
            raise ValueError(f"strength: must be >= 0, got {strength}")
        self.strength = strength
        self.negatives = negatives

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return augmented `images` uint8 [B, C, H, W]; the input is not changed."""
        if self.strength == 0:
            return images
        pixels = images.float()
        pixels = self._move(pixels, generator)
        pixels = self._restroke(pixels, generator)
        pixels = self._recolor(pixels, generator)
        return pixels.clamp_(0, GREY).to(torch.uint8)

    def _move(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Apply an affine map per image; pixels from outside repeat the border."""
        batch, _, height, width = pixels.shape
        draw = torch.randn(6, batch, generator=generator, device=pixels.device) * self.strength
        angle, shear = draw[0] * math.radians(1.5), draw[1] * 0.04
        scale_x, scale_y = (draw[2] * 0.05).exp(), (draw[3] * 0.05).exp()
        aspect = height / width
        x = _centers(width, pixels.device)  # [1, 1, W]
        y = _centers(height, pixels.device).transpose(1, 2)  # [1, H, 1]

        def plane(by_x: Tensor, by_y: Tensor, shift: Tensor) -> Tensor:
            by_x, by_y, shift = (v[:, None, None] for v in (by_x, by_y, shift))
            return (by_x * x + shift) + by_y * y  # four times as fast as affine_grid

        columns = plane(scale_x * angle.cos(), (shear - angle.sin()) * aspect, draw[4] * 0.015)
        rows = plane(angle.sin() / aspect, scale_y * angle.cos(), draw[5] * 0.03)
        grid = torch.stack([columns, rows], dim=-1)
        return functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)

    def _restroke(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Thicken, thin or blur by one pixel, an eighth of the batch each."""
        share = max(1, len(pixels) // 8)
        order = torch.randperm(len(pixels), generator=generator, device=pixels.device)
        lighter, darker, softer = (
            order[:share],
            order[share : 2 * share],
            order[2 * share :][:share],
        )
        pixels[lighter] = _extreme(pixels[lighter], torch.maximum)
        pixels[darker] = _extreme(pixels[darker], torch.minimum)
        if len(softer):
            pixels[softer] = functional.avg_pool2d(pixels[softer], 3, 1, 1, count_include_pad=False)
        return pixels

    def _recolor(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Change contrast and brightness, add noise to a quarter, optionally invert every other."""
        batch = len(pixels)
        draw = torch.rand(4, batch, 1, 1, 1, generator=generator, device=pixels.device)
        contrast = 1 + 0.4 * self.strength * (draw[0] - 0.5)
        brightness = 40 * self.strength * (draw[1] - 0.5)
        sign = 1 - 2 * (draw[3] < 0.5 * self.negatives).float()
        middle = GREY / 2
        changed = (pixels - middle) * (contrast * sign) + middle + brightness
        noisy = torch.randperm(batch, generator=generator, device=pixels.device)[: batch // 4]
        shape = (len(noisy), *pixels.shape[1:])
        noise = torch.randn(shape, generator=generator, device=pixels.device)
        changed[noisy] += 10 * self.strength * draw[2][noisy] * noise
        return changed


def _centers(size: int, device: torch.device) -> Tensor:
    """Return the centres of `size` pixels between -1 and 1, float [1, 1, size]."""
    return ((torch.arange(size, device=device) * 2 + 1) / size - 1).view(1, 1, size)


def _extreme(pixels: Tensor, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The largest or smallest of each 3 x 3 pixels, one axis after the other."""
    for axis in (-1, -2):
        size = pixels.shape[axis]
        before, after = pixels.narrow(axis, 0, size - 1), pixels.narrow(axis, 1, size - 1)
        pairs = choose(before, after)  # of each pixel and the next
        changed = pixels.clone()
        changed.narrow(axis, 0, size - 1).copy_(pairs)
        later = changed.narrow(axis, 1, size - 1)
        later.copy_(choose(later, pairs))
        pixels = changed
    return pixels
