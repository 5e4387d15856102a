"""All drawing: a figure is made, filled and written whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from raytune_ocr.files import replacing
from raytune_ocr.vocabulary import NUM_DIGITS


def save_figure(
    path: str | os.PathLike[str], draw: Callable[[Any], None], size: tuple[float, float] = (6, 6)
) -> None:
    """Draw on a fresh matplotlib figure and write the PNG; `size` in inches."""
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=size, layout="constrained")
    draw(figure)
    with replacing(path) as aside:
        figure.savefig(aside, format="png", dpi=120)


def draw_learning_curves(figure: Any, history: Mapping[str, Sequence[float]]) -> None:
    """Loss and accuracy beside each other, by epoch from 1; training dashed."""
    panels = figure.subplots(1, 2)
    for axes, word in zip(panels, ("loss", "accuracy"), strict=True):
        for name, values in history.items():
            if not name.endswith(word):
                continue
            style = "--" if name.startswith("train") else "-"
            label = name.replace("_", " ")
            axes.plot(range(1, len(values) + 1), values, style, label=label, marker=".")
        axes.set(xlabel="epoch", ylabel=word)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()


def draw_confusion_matrix(figure: Any, matrix: np.ndarray) -> None:
    """Row shares in colour, counts as text; rows are the digits there, columns those read.

    Digits are written 0-9, since common installations have no Khmer font to draw with.
    """
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(matrix > 0):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, matrix[row, column], ha="center", va="center", color=color, size=8)
    axes.set(xlabel="read", ylabel="there", title="Digits there and digits read")
    axes.set_xticks(range(NUM_DIGITS))
    axes.set_yticks(range(NUM_DIGITS))
