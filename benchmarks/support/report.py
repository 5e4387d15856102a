"""What every benchmark shares: the machine's description, paired timing, a table and a JSON."""

from __future__ import annotations

import gc
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from raytune_ocr.files import replacing

RESULTS = Path(__file__).parents[1] / "results"


def machine() -> dict[str, Any]:
    """Processor, cores, threads, versions, and how busy it was."""
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load average": os.getloadavg()[1] if hasattr(os, "getloadavg") else None,
    }


def paired_seconds(
    contestants: Mapping[str, Callable[[], None]], rounds: int
) -> dict[str, list[float]]:
    """Seconds of every contestant in every round; they take turns, so that drift hits all alike.

    Each round begins with another one; the round before the first is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            gc.collect()
            started = time.perf_counter()
            contestants[name]()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def paired_ratio(first: Sequence[float], second: Sequence[float]) -> float:
    """Median over the rounds of `first` over `second`."""
    ratios = sorted(a / b for a, b in zip(first, second, strict=True))
    middle = len(ratios) // 2
    return ratios[middle] if len(ratios) % 2 else (ratios[middle - 1] + ratios[middle]) / 2


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as plain text, a column a key of the first."""
    columns = list(rows[0])
    cells = [columns, *([_cell(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, (list, tuple)):
        return "-".join(_cell(part) for part in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write(name: str, content: Mapping[str, Any]) -> Path:
    """`benchmarks/results/NAME.json`, the machine added."""
    path = RESULTS / f"{name}.json"
    with replacing(path) as aside:
        text = json.dumps({"machine": machine(), **content}, indent=2)
        aside.write_text(text + "\n", encoding="utf-8")
    return path
