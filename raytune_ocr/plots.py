"""Draw all figures with matplotlib and NumPy, and write them atomically."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from raytune_ocr.files import replacing
from raytune_ocr.vocabulary import NUM_DIGITS

DOTS_PER_INCH = 150
SHEET_GAP, SHEET_TITLE = 6, 16  # pixels
BLUE = (0.18, 0.44, 0.75)


def save_figure(
    path: str | os.PathLike[str],
    draw: Callable[[Any], None],
    size: tuple[float, float] = (6, 6),
) -> None:
    """Draw on a fresh matplotlib figure and write the PNG; `size` in inches."""
    from matplotlib.figure import Figure  # slow to import

    with replacing(path) as aside:
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(aside, format="png", dpi=DOTS_PER_INCH)


def draw_learning_curves(figure: Any, history: Mapping[str, Sequence[float]]) -> None:
    """Draw loss and accuracy side by side, by epoch from 1; training dashed."""
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
    """Draw a confusion matrix: row shares in colour, counts as text; rows are true, columns read.

    Digits are written 0-9, since common installations have no Khmer font to draw with.
    """
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    colors = np.broadcast_to(BLUE, (*shares.shape, 3))
    axes.imshow(np.dstack([colors, shares]))
    for row, column in np.argwhere(matrix > 0):
        style = {"color": "white"} if shares[row, column] > 0.5 else {}
        axes.text(column, row, matrix[row, column], ha="center", va="center", size=8, **style)
    axes.set(xlabel="read", ylabel="true", title="Confusion of digits")
    axes.set_xticks(range(NUM_DIGITS))
    axes.set_yticks(range(NUM_DIGITS))


def reading_sheet(
    images: np.ndarray, readings: Sequence[tuple[str, str]], columns: int = 4
) -> np.ndarray:
    """Draw images uint8 [N, H, W] in rows, each with its reading; errors in red with the label.

    Without matplotlib, because every trial draws it.

    Args:
        images: at least one.
        readings: the label and the reading of each image, digits 0-9.

    Returns:
        uint8 [height, width, 3].
    """
    height, width = images.shape[1:]
    rows = -(-len(images) // columns)
    cell = (width + SHEET_GAP, height + SHEET_TITLE)
    sheet = Image.new("RGB", (columns * cell[0], rows * cell[1]), "white")
    draw = ImageDraw.Draw(sheet)
    for at, (image, (there, read)) in enumerate(zip(images, readings, strict=True)):
        x, y = at % columns * cell[0], at // columns * cell[1]
        right = there == read
        text = read if right else f"{read or 'nothing'} for {there}"
        draw.text((x + 2, y + 2), text, fill="black" if right else "red")
        sheet.paste(Image.fromarray(image), (x, y + SHEET_TITLE))
    return np.asarray(sheet)
