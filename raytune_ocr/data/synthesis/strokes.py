"""Draw handwritten digits: the middle line of a printed glyph, bent, and drawn with a pen.

Fonts differ in weight and serifs, handwriting in everything else. A line of one pixel has neither;
bending it and drawing it with a pen of any width gives digits that no font has.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

INK = 110  # of 255: what counts as inside of a glyph
BEND = (0.03, 0.1)  # of the glyph's height: standard deviation of the control points' moves
KNOTS = 3  # control points on a side


def thinned(glyphs: np.ndarray) -> np.ndarray:
    """Middle lines, bool, of `glyphs` uint8 [..., H, W] (255 is ink).

    Zhang and Suen, "A fast parallel algorithm for thinning digital patterns" (1984).
    """
    line = np.pad(glyphs >= INK, [(0, 0)] * (glyphs.ndim - 2) + [(1, 1), (1, 1)])
    while True:
        gone = 0
        for first in (True, False):
            removable = _removable(line, first)
            line &= ~removable
            gone += int(removable.sum())
        if not gone:
            return line[..., 1:-1, 1:-1]


def _removable(line: np.ndarray, first: bool) -> np.ndarray:
    """Pixels of a border that no end and no connection depends on."""
    north, south = np.roll(line, 1, -2), np.roll(line, -1, -2)
    west, east = np.roll(line, 1, -1), np.roll(line, -1, -1)
    around = [
        north,
        np.roll(north, -1, -1),
        east,
        np.roll(south, -1, -1),
        south,
        np.roll(south, 1, -1),
        west,
        np.roll(north, 1, -1),
    ]
    count = sum(place.astype(np.int8) for place in around)
    after = [*around[1:], around[0]]
    turns = sum((~a & b).astype(np.int8) for a, b in zip(around, after, strict=True))
    if first:
        sides = ~(north & east & south) & ~(east & south & west)
    else:
        sides = ~(north & east & west) & ~(north & south & west)
    return line & (count >= 2) & (count <= 6) & (turns == 1) & sides


def written(
    line: np.ndarray,
    height: int,
    pen: float,
    stretch: float,
    slant: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw a digit, float32 [height, W] from 0 to 1, with ink from the first column.

    Args:
        line: bool [H, W], its middle line.
        height: rows of the result, which the digit fills but for what it is bent.
        pen: the stroke's width, pixels.
        stretch: width relative to the line's own.
        slant: columns to the right for each row up.
    """
    rows, columns = np.nonzero(line)
    size = line.shape[0]
    bent_y, bent_x = _bent(rows, columns, size, rng)
    scale = (height - 1 - pen) / (size - 1)
    y = pen / 2 + scale * np.clip(bent_y, 0, size - 1)
    x = scale * stretch * bent_x + slant * (height - y)
    x += pen / 2 - x.min()
    width = max(3, int(np.ceil(x.max() + pen / 2 + 1)))
    across = (np.arange(width, dtype=np.float32)[:, None] - x.astype(np.float32)) ** 2
    down = (np.arange(height, dtype=np.float32)[:, None] - y.astype(np.float32)) ** 2
    ink = np.empty((height, width), dtype=np.float32)
    for row in range(height):  # a row at a time stays in the cache
        ink[row] = (across + down[row]).min(axis=1)
    return np.clip(pen / 2 + 0.5 - np.sqrt(ink), 0, 1)


def bent(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A glyph float32 [H, W] from 0 to 1, bent by a grid of control points; the size stays."""
    height, width = ink.shape
    moves = rng.normal(0, rng.uniform(*BEND) * height, (KNOTS, KNOTS, 2))
    y, x = np.mgrid[0:KNOTS, 0:KNOTS] / (KNOTS - 1) * np.array([height, width])[:, None, None]
    source = np.stack([x, y], axis=-1) + moves
    edges_y, edges_x = y[:, 0].astype(int).tolist(), x[0].astype(int).tolist()
    pieces = [
        (
            (edges_x[j], edges_y[i], edges_x[j + 1], edges_y[i + 1]),
            tuple(
                float(value)
                for corner in ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1))
                for value in source[corner]
            ),
        )
        for i in range(KNOTS - 1)
        for j in range(KNOTS - 1)
    ]
    picture = Image.fromarray(ink).transform(
        (width, height), Image.Transform.MESH, pieces, Image.Resampling.BILINEAR
    )
    return np.asarray(picture)


def _bent(
    rows: np.ndarray, columns: np.ndarray, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The points, moved as a grid of control points over the glyph moves (bilinearly)."""
    moves = rng.normal(0, rng.uniform(*BEND) * size, (2, KNOTS, KNOTS))
    left, right = columns.min(), columns.max()
    v = rows / max(1, size - 1) * (KNOTS - 1)
    u = (columns - left) / max(1, right - left) * (KNOTS - 1)
    i, j = np.minimum(v.astype(int), KNOTS - 2), np.minimum(u.astype(int), KNOTS - 2)
    a, b = v - i, u - j
    down, across = (
        m[i, j] * (1 - a) * (1 - b)
        + m[i + 1, j] * a * (1 - b)
        + m[i, j + 1] * (1 - a) * b
        + m[i + 1, j + 1] * a * b
        for m in moves
    )
    return rows + down, columns - left + across
