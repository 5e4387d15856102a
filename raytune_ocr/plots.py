"""All drawing: each function fills the axes it is given; matplotlib is an extra (`[plots]`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.files import replacing
from raytune_ocr.vocabulary import NUM_DIGITS


def save_figure(
    path: str | os.PathLike[str], draw: Callable[[Any], None], size: tuple[float, float] = (6, 6)
) -> None:
    """Draw on fresh axes and write the PNG; `size` in inches.

    Raises:
        ConfigurationError: when matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigurationError(
            "a picture needs matplotlib: pip install 'raytune-ocr[plots]'"
        ) from None
    figure = Figure(figsize=size, layout="constrained")
    draw(figure.subplots())
    with replacing(path) as aside:
        figure.savefig(aside, format="png", dpi=120)


def draw_confusion_matrix(axes: Any, matrix: np.ndarray) -> None:
    """Row shares in colour, counts as text; rows are the digits there, columns those read.

    Digits are written 0-9, since common installations have no Khmer font to draw with.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(matrix > 0):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, matrix[row, column], ha="center", va="center", color=color, size=8)
    axes.set(xlabel="read", ylabel="there", title="Digits there and digits read")
    axes.set_xticks(range(NUM_DIGITS))
    axes.set_yticks(range(NUM_DIGITS))
