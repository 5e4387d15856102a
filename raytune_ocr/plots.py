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
NAMED = 12  # trials in a legend

DARK: Any = {
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "legend.facecolor"), "#14171b"),
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), "#e4e8ec"),
    **dict.fromkeys(("axes.edgecolor", "legend.edgecolor", "grid.color"), "#59636e"),
}
"""Colours for the dark background; everything must be visible on light and dark."""


def save_figure(
    path: str | os.PathLike[str],
    draw: Callable[[Any], None],
    size: tuple[float, float] = (6, 6),
    dark: bool = False,
) -> None:
    """Draw on a fresh matplotlib figure and write the PNG; `size` in inches."""
    from matplotlib import rc_context  # slow to import
    from matplotlib.figure import Figure

    with rc_context(DARK if dark else {}), replacing(path) as aside:
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
    axes.imshow(np.dstack([colors, shares]))  # nothing read is the background, dark or light
    for row, column in np.argwhere(matrix > 0):
        style = {"color": "white"} if shares[row, column] > 0.5 else {}
        axes.text(column, row, matrix[row, column], ha="center", va="center", size=8, **style)
    axes.set(xlabel="read", ylabel="true", title="Confusion of digits")
    axes.set_xticks(range(NUM_DIGITS))
    axes.set_yticks(range(NUM_DIGITS))


def draw_reliability(figure: Any, series: Mapping[str, Sequence[tuple[float, float, int]]]) -> None:
    """Draw accuracy over confidence, a line per series, dots sized by the number of readings.

    On the dotted diagonal, confidence equals accuracy.
    """
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], ":", color="grey", label="calibrated")
    for label, bins in series.items():
        most = max((count for *_, count in bins), default=1)
        (line,) = axes.plot([b[0] for b in bins], [b[1] for b in bins], label=label)
        sizes = [10 + 90 * count / most for *_, count in bins]
        axes.scatter([b[0] for b in bins], [b[1] for b in bins], sizes, color=line.get_color())
    axes.set(xlabel="confidence", ylabel="share right", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend()


def draw_trial_curves(
    figure: Any, curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], word: str
) -> None:
    """Draw a line per trial over its epochs, with a dot at its end and the reason in the label.

    Only the first `NAMED` of `curves` are in the legend.
    """
    axes = figure.subplots()
    for number, (label, (epochs, values)) in enumerate(curves.items()):
        (line,) = axes.plot(epochs, values, label=label if number < NAMED else None)
        axes.plot(epochs[-1:], values[-1:], "o", color=line.get_color())
    axes.set(xlabel="epoch", ylabel=word)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(fontsize=8)


def draw_rungs(figure: Any, rungs: Sequence[int]) -> None:
    """Draw dotted lines at the epochs where trials were compared."""
    for rung in rungs:
        figure.axes[0].axvline(rung, color="grey", linestyle=":", linewidth=1)


def draw_parallel(
    figure: Any, columns: Mapping[str, Sequence[Any]], scores: Sequence[float], word: str
) -> None:
    """Draw a line per trial through its settings to its score, lighter for better."""
    axes = figure.subplots()
    heights = {name: _heights(values) for name, values in {**columns, word: scores}.items()}
    lines = np.array(list(heights.values())).T
    colors = _heights(scores)
    from matplotlib import colormaps

    for line, color in zip(lines, colors, strict=True):
        shade = colormaps["viridis"](0.25 + 0.5 * color)  # its ends are lost on dark and light
        axes.plot(range(len(heights)), line, color=shade, alpha=0.8)
    for at, (name, values) in enumerate({**columns, word: scores}.items()):
        for height, value in dict(zip(heights[name], values, strict=True)).items():
            text = f"{value:.4g}" if isinstance(value, float) else str(value)
            if len(set(heights[name])) <= 8 or height in (0.0, 1.0):
                axes.text(at, height, text[:24], size=7, ha="center", va="bottom")
    axes.set_xticks(range(len(heights)), [n[-24:] for n in heights], rotation=20, ha="right")
    axes.set_yticks([])


def _heights(values: Sequence[Any]) -> list[float]:
    """Scale values to 0..1: words by alphabetical order, large ranges by logarithm.

    Numbers among words come first, in numerical order.
    """
    numeric = all(map(_is_number, values))
    kinds = sorted(set(values), key=lambda v: (0, v, "") if _is_number(v) else (1, 0, str(v)))
    numbers = np.array(values if numeric else [kinds.index(v) for v in values], dtype=float)
    if numeric and numbers.min() > 0 and numbers.max() / numbers.min() > 20:
        numbers = np.log(numbers)
    span = np.ptp(numbers)
    return list((numbers - numbers.min()) / span if span else np.full(len(numbers), 0.5))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def draw_importance(figure: Any, rows: Sequence[tuple[str, float, float, float, float]]) -> None:
    """Draw bars of (name, importance, low, high, chance), strongest on top; the tick is chance."""
    axes = figure.subplots()
    for at, (_, value, low, high, chance) in enumerate(reversed(rows)):
        axes.barh(at, value, color=BLUE)
        axes.plot([low, high], [at, at], color="grey")
        axes.plot(chance, at, "|", color="red", markersize=16)
    axes.set_yticks(range(len(rows)), [row[0] for row in reversed(rows)])
    axes.set(xlim=(0, 1), xlabel="importance (line: 5 to 95 %, red: 95 % of chance)")


def draw_confirmation(
    figure: Any, rows: Sequence[tuple[str, Sequence[float], float, float, float]], word: str
) -> None:
    """Draw a line per candidate (name, scores, mean, low, high), best on top."""
    axes = figure.subplots()
    for at, (_, scores, mean, low, high) in enumerate(reversed(rows)):
        axes.plot([low, high], [at, at], color=BLUE, linewidth=6, alpha=0.4)
        axes.plot(scores, [at] * len(scores), "o", color="grey", alpha=0.8)
        axes.plot(mean, at, "|", color=BLUE, markersize=22, markeredgewidth=3)
    axes.set_yticks(range(len(rows)), [row[0] for row in reversed(rows)])
    axes.set(xlabel=word, ylim=(-0.6, len(rows) - 0.4))
    axes.grid(alpha=0.3, axis="x")


def draw_pareto(figure: Any, points: Sequence[tuple[str, float, float, bool]], word: str) -> None:
    """Draw points (name, seconds, score, on front) and join the Pareto front."""
    axes = figure.subplots()
    for name, cost, score, on_front in points:
        axes.plot(cost, score, "o", color="#c44" if on_front else "grey")
        if on_front or len(points) <= 12:
            axes.annotate(name, (cost, score), size=7, xytext=(4, 4), textcoords="offset points")
    front = [(cost, score) for _, cost, score, on_front in points if on_front]
    if front:
        axes.step(*zip(*front, strict=True), where="post", color="#c44")
    axes.set(xlabel="training time in seconds", ylabel=word)
    axes.margins(x=0.12)  # room for names
    axes.grid(alpha=0.3)


def draw_readings(figure: Any, images: np.ndarray, titles: Sequence[str]) -> None:
    """Draw grey images uint8 [N, H, W] in rows of four, each with its title."""
    panels = np.atleast_1d(figure.subplots((len(images) + 3) // 4, min(4, len(images)))).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, image, title in zip(panels, images, titles, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        axes.set_title(title, size=8)


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
