"""How fast a model reads PNG files on one core, here and at other revisions, in turns."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.support.checkouts import Worker
from benchmarks.support.report import paired_ratio
from raytune_ocr.data.synthesis.composer import SyntheticComposer

HERE = "here"
PROGRAM = Path(__file__).with_name("reading_worker.py")


def write_images(folder: Path, count: int, seed: int) -> list[Path]:
    """Save composed strings as PNG files."""
    files = [folder / f"{number:05d}.png" for number in range(count)]
    for file, pixels in zip(files, SyntheticComposer(seed=seed).batch(count)[0], strict=True):
        Image.fromarray(pixels).save(file)
    return files


def measure(
    model: str,
    files: Sequence[Path],
    sources: Mapping[str, Path],
    mixed_precision: bool = False,
    rounds: int = 5,
) -> dict[str, Any]:
    """Images a second and milliseconds of one image, decoding included.

    Args:
        model: a preset, untrained and with one look at an image, since without training either no
            image or every one would get a second; or a checkpoint, which looks as `predict` does.
        sources: folders of this package by name; the first is compared with each other one.

    Returns:
        Speeds by the clock and by processor time, which other programs disturb less; and how many
        times as fast as each other source it is, by processor time, median over the rounds.
    """
    half = "bf16" if mixed_precision else "float32"
    workers = {
        name: Worker(PROGRAM, source, model, half, *map(str, files))
        for name, source in sources.items()
    }
    all_of: dict[str, list[dict[str, float]]] = {name: [] for name in sources}
    one_of: dict[str, list[float]] = {name: [] for name in sources}
    try:
        for number in range(rounds):
            for name in _in_turn(list(sources), number):
                all_of[name].append(workers[name].ask("all"))
                one_of[name] += workers[name].ask("one by one")
    finally:
        for worker in workers.values():
            worker.end()
    here, *others = sources
    processor = {name: [each["processor"] for each in all_of[name]] for name in sources}
    row: dict[str, Any] = {
        "model": f"{model}, bf16" if mixed_precision else model,
        "images/s": len(files) / statistics.median(each["clock"] for each in all_of[here]),
        "of processor time": len(files) / statistics.median(processor[here]),
        "ms, one image": 1e3 * statistics.median(one_of[here]),
        "95 % of them below": 1e3 * sorted(one_of[here])[int(0.95 * len(one_of[here]))],
    }
    for other in others:
        row[f"over {other}"] = paired_ratio(processor[other], processor[here])
        slower = statistics.median(one_of[other]) / statistics.median(one_of[here])
        row[f"over {other}, one image"] = slower
    return row


def _in_turn(names: list[str], number: int) -> list[str]:
    """`names`, another one first each time."""
    first = number % len(names)
    return names[first:] + names[:first]
