"""Read the files of the command line as often as standard input asks for it, and say how long.

It runs with the package of any revision since 05843ab, so it looks for names where each has them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from raytune_ocr.models import PRESETS, create_model
from raytune_ocr.training import load_reader

try:
    from raytune_ocr.inference.reading import predict
except ImportError:  # at 05843ab
    from raytune_ocr.predict import predict

SINGLE = 30  # files that are read one by one


def timed(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds by the clock and of this thread's processor time."""
    started = time.perf_counter(), time.thread_time()
    work()
    return {
        "clock": time.perf_counter() - started[0],
        "processor": time.thread_time() - started[1],
    }


def one_reader(model: torch.nn.Module, **options: Any) -> Callable[[Path], Any]:
    """What reads one file, as a program that has loaded the model once does."""
    try:
        from raytune_ocr.inference.model import Model
    except ImportError:
        return lambda file: list(predict(model, [file], **options))
    loaded = Model(Path("model"), model)
    return lambda file: list(loaded.read_all([file], **options))


def main(name: str, precision: str, *names: str) -> None:
    """Answer each line of standard input with a line of JSON."""
    torch.set_num_threads(1)
    preset = name in PRESETS
    model = create_model(name).eval() if preset else load_reader(Path(name))[0]
    options = {"mixed_precision": precision == "bf16", "second_look": not preset}
    files = [Path(file) for file in names]
    read_one = one_reader(model, **options)
    list(predict(model, files[:64], **options))  # warms up
    read_one(files[0])
    for order in sys.stdin:
        if order.strip() == "all":
            answer: Any = timed(lambda: list(predict(model, files, **options)))
        else:
            answer = [timed(lambda file=file: read_one(file))["clock"] for file in files[:SINGLE]]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
