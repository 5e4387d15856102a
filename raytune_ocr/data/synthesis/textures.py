"""Banks of paper textures and of perspectives, made once and drawn from for each image."""

from __future__ import annotations

import numpy as np
from PIL import Image

from raytune_ocr.vocabulary import IMAGE_HEIGHT, IMAGE_WIDTH

BANK = 96  # textures, noises and perspectives that are made once


def textures(rng: np.random.Generator) -> np.ndarray:
    """Slopes of light and smooth stains, float32 [BANK, H, W] from -1 to 1."""
    rows = np.linspace(-1, 1, IMAGE_HEIGHT, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, IMAGE_WIDTH, dtype=np.float32)[None]
    made = np.empty((BANK, IMAGE_HEIGHT, IMAGE_WIDTH), dtype=np.float32)
    for i in range(BANK):
        tilt = rng.normal(0, 1, 2)
        field = tilt[0] * rows + tilt[1] * columns
        if i % 2:
            grid = rng.integers(2, 9, 2)
            stains = rng.standard_normal((int(grid[0]), 2 * int(grid[1]))).astype(np.float32)
            size = (IMAGE_WIDTH, IMAGE_HEIGHT)
            smooth = Image.fromarray(stains).resize(size, Image.Resampling.BICUBIC)
            field = 0.3 * field + np.asarray(smooth)
        made[i] = field / np.abs(field).max()
    return made


def warps(rng: np.random.Generator, count: int = BANK) -> np.ndarray:
    """Flat source pixel of every pixel, int64 [count, H, W]: small turns and perspectives."""
    y, x = np.mgrid[0:IMAGE_HEIGHT, 0:IMAGE_WIDTH].astype(np.float64)
    x, y = x - IMAGE_WIDTH / 2, y - IMAGE_HEIGHT / 2
    maps = np.empty((count, IMAGE_HEIGHT, IMAGE_WIDTH), dtype=np.int64)
    for i in range(count):
        angle, tilt_x, tilt_y = rng.normal(0, (0.035, 0.0008, 0.0016))
        depth = 1 + tilt_x * x + tilt_y * y
        across = (np.cos(angle) * x - np.sin(angle) * y) / depth + IMAGE_WIDTH / 2
        down = (np.sin(angle) * x + np.cos(angle) * y) / depth + IMAGE_HEIGHT / 2
        columns = np.clip(np.rint(across), 0, IMAGE_WIDTH - 1)
        rows = np.clip(np.rint(down), 0, IMAGE_HEIGHT - 1)
        maps[i] = (rows * IMAGE_WIDTH + columns).astype(np.int64)
    return maps
