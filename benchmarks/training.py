"""Images a second of `OCRTrainer`, beside a bare loop, two other trainers and the machine's limit.

    python -m benchmarks.training                       # all models, one core and all cores
    python -m benchmarks.training --models ctc_small --threads 1 --precisions bf16

Every model is trained as the first preset of `search_spaces/full.yaml` that names it says. All
loops take turns step by step (`turns.py`), each in a process of its own; a turn is a batch,
fetching included.

- `bare`: forward, loss, backward, optimizer on batches made ready before; nothing else. It keeps
  freed memory, as `OCRTrainer` does by itself (`raytune_ocr.training.allocator`).
- `OCRTrainer`: what a trial runs: packed data, clipping, averaged weights, metrics, files.
- `OCRTrainer as shipped`: on the data that the preset asks for, its images composed on the way.
- `Lightning`, `Hugging Face`: the same model, loss, optimizer, clipping and precision, with the
  same images in a standard `DataLoader` of single samples, as they come; with `+ kept memory` they
  are given that setting of ours.
- with `+ augmentation` all of them change their images by `BatchAugment`: ours and the bare loop
  whole batches, the other two each sample as they load it, which is what such a loader does.
- `convolution`, `GEMM`: the fastest that the machine computes in this precision, in the same turns.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.support.contestants import (
    AUGMENTED,
    KEPT,
    STEPS,
    Work,
    as_shipped,
    contestants,
    limit,
    ours,
)
from benchmarks.support.limits import LIMITS, Kernel, fastest
from benchmarks.support.report import table, write
from benchmarks.support.turns import compare, take_turns
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import PackedSplit, SyntheticComposer
from raytune_ocr.data.synthesis.batches import COMPOSED_AT_ONCE
from raytune_ocr.training.device import autocast_dtype, get_device
from raytune_ocr.tune import load_space
from raytune_ocr.vocabulary import encode

WARM = 6  # turns that do not count
SHIPPED = "OCRTrainer as shipped"


def race(work: Work, kernels: Mapping[str, Kernel], others: bool = True) -> dict[str, Any]:
    """All contestants on one model: ratios by the clock and by processor time, and shares."""
    loops = {**contestants(work, others), SHIPPED: functools.partial(as_shipped, work=work)}
    for name, kernel in kernels.items():
        loops[name] = functools.partial(limit, work=work, kernel=kernel)
    nothing = [None]  # the turns hand out no batches: each loop has a loader of its own
    stages = take_turns(loops, dict.fromkeys(loops, nothing))
    flops = work.flops()

    def ratio(first: str, second: str) -> dict[str, Any]:
        found = compare(stages, first, second, skip=WARM)
        return {
            "wall": found.wall,
            "95 %": found.interval,
            "processor": found.cpu,
        }

    def share(name: str, kernel: str) -> dict[str, Any]:
        """Of the kernel's GFLOP/s: its time for as many operations over that of a step."""
        times = flops / kernels[kernel].flops
        return {k: _scaled(v, times) for k, v in ratio(kernel, name).items()}

    ratios = {
        "speed over bare": ratio("bare", "OCRTrainer"),
        "speed over bare, both augmenting": ratio("bare" + AUGMENTED, "OCRTrainer" + AUGMENTED),
    }
    for name in ("Lightning", "Hugging Face"):
        if name in loops:
            ratios[f"speed over {name}"] = ratio(name, "OCRTrainer")
            ratios[f"speed over {name}, given its kept memory"] = ratio(name + KEPT, "OCRTrainer")
            ratios[f"speed over {name}, both augmenting"] = ratio(
                name + AUGMENTED, "OCRTrainer" + AUGMENTED
            )
    turns = slice(WARM, -1)
    if work.config.dataset_options.get("composed"):
        # Composing comes once in many turns: the mean of all from one time to the next.
        turns = slice(1, COMPOSED_AT_ONCE // work.config.batch_size + 1)
    shipped = {k: statistics.mean(getattr(stages[SHIPPED], k)[turns]) for k in ("seconds", "cpu")}
    for name, kernel in kernels.items():
        ratios[f"share of the {name} limit, bare"] = share("bare", name)
        least = {k: statistics.mean(getattr(stages[name], k)[WARM:-1]) for k in shipped}
        ratios[f"share of the {name} limit, end to end"] = {
            by: flops / kernel.flops * least[k] / shipped[k]
            for by, k in {"wall": "seconds", "processor": "cpu"}.items()
        }
    step = {name: statistics.median(stage.seconds[WARM:-1]) for name, stage in stages.items()}
    step[SHIPPED] = shipped["seconds"]
    return {
        "ratios": ratios,
        "GFLOP a step": flops / 1e9,
        "images/s": {n: work.config.batch_size / s for n, s in step.items() if n not in kernels},
        "limit GFLOP/s": {
            name: kernel.flops / step[name] / 1e9 for name, kernel in kernels.items()
        },
        **_gpu_figures(work),
    }


def _scaled(value: Any, times: float) -> Any:
    return tuple(v * times for v in value) if isinstance(value, tuple) else value * times


class _Alone:
    """In place of turns, where nobody else takes any."""

    @property
    def dataset(self) -> Any:
        return [None]


def _gpu_figures(work: Work) -> dict[str, Any]:
    """What `OCRTrainer` takes of a GPU, in this process, where nobody else is at work."""
    if work.device.type != "cuda":
        return {}
    ours(_Alone(), work, augment=False)
    figures: dict[str, Any] = {"GPU memory, MiB": torch.cuda.max_memory_allocated() / 2**20}
    try:
        figures["GPU utilisation at the end, %"] = torch.cuda.utilization()
    except (ImportError, RuntimeError) as error:
        print(f"no utilisation: {error}")
    return figures


def presets() -> dict[str, TrainingConfig]:
    """The first preset of the full space for each model."""
    found: dict[str, TrainingConfig] = {}
    for config in load_space("full").configs.values():
        found.setdefault({"ctc": "ctc_small"}.get(config.model_name, config.model_name), config)
    return found


def made_ready(config: TrainingConfig, epochs: int, mixed: bool) -> Work:
    """The preset's training for so many epochs of `STEPS` steps on composed images."""
    images, texts = SyntheticComposer(seed=1).batch(STEPS * config.batch_size)
    targets = np.array([encode(text) for text in texts], dtype=np.int64)
    changed = dataclasses.replace(
        config,
        num_epochs=epochs,
        mixed_precision=mixed,
        early_stopping_patience=0,
        scheduler_type="none",
        experiment_name="race",
    )
    return Work(changed, PackedSplit(images, targets))


def rows_of(model: str, threads: int, precision: str, found: Mapping[str, Any]) -> list[Any]:
    """Lines of the table, by the clock and, of one core, by processor time, which is steadier."""

    def line(kind: str) -> dict[str, Any]:
        ratios = {name: part[kind] for name, part in found["ratios"].items()}
        return {
            "model": model,
            "cores": threads,
            "precision": precision,
            "by": kind,
            "images/s": found["images/s"][SHIPPED],
            "over bare": ratios["speed over bare"],
            "(aug.)": ratios["speed over bare, both augmenting"],
            "over Lightning": ratios.get("speed over Lightning"),
            "(kept)": ratios.get("speed over Lightning, given its kept memory"),
            "(aug.) ": ratios.get("speed over Lightning, both augmenting"),
            "over HF": ratios.get("speed over Hugging Face"),
            "(kept) ": ratios.get("speed over Hugging Face, given its kept memory"),
            "(aug.)  ": ratios.get("speed over Hugging Face, both augmenting"),
            "of conv, bare": ratios["share of the convolution limit, bare"],
            "end to end": ratios["share of the convolution limit, end to end"],
        }

    return [line(kind) for kind in (("wall", "processor") if threads == 1 else ("wall",))]


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cores = os.cpu_count() or 1
    parser.add_argument("--models", nargs="+", metavar="NAME", help="(default: all five)")
    parser.add_argument("--epochs", type=int, default=8, help=f"of {STEPS} steps (default 8)")
    parser.add_argument(
        "--threads",
        nargs="+",
        type=int,
        default=sorted({1, cores}),
        help="(default: 1 and all cores; the other trainers run on the first alone)",
    )
    parser.add_argument(
        "--precisions", nargs="+", choices=("bf16", "fp32"), help="(default: what is fast here)"
    )
    parser.add_argument("--no-write", action="store_true", help="leave results/training.json alone")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    arguments = build_parser().parse_args(argv)
    half = autocast_dtype(get_device("auto")) is not None
    precisions = arguments.precisions or (["bf16", "fp32"] if half else ["fp32"])
    known = presets()
    rows, details = [], []
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for precision in precisions:
            kernels = {name: fastest(made, precision) for name, made in LIMITS.items()}
            for model in arguments.models or known:
                work = made_ready(known[model], arguments.epochs, mixed=precision != "fp32")
                first = threads == arguments.threads[0] and precision == precisions[0]
                found = race(work, kernels, others=first)
                rows += rows_of(model, threads, precision, found)
                about = {"model": model, "cores": threads, "precision": precision}
                details.append({**about, **found})
                print(f"{', '.join(map(str, about.values()))}: done", flush=True)
                if not arguments.no_write:  # after each: a long run may be cut short
                    size = {"epochs": arguments.epochs, "steps": STEPS}
                    write("training", {**size, "rows": rows, "details": details})
    print(table(rows))


if __name__ == "__main__":
    main()
