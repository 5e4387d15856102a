"""Images a second of `OCRTrainer`, beside a bare loop, two other trainers and the machine's limit.

    python -m benchmarks.training                       # all models, one core and all cores
    python -m benchmarks.training --models ctc_small --threads 1 --precisions bf16

Every model is trained as the first preset of `search_spaces/full.yaml` that names it says. All
loops take turns step by step (`turns.py`), each in a process of its own; a turn is a batch,
fetching included.

- `bare`: forward, loss, backward, optimizer on batches made ready before; nothing else. It keeps
  freed memory, as `OCRTrainer` does by itself (`raytune_ocr.training.memory`).
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
import io
import logging
import os
import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.support.limits import LIMITS, Kernel, fastest
from benchmarks.support.report import table, write
from benchmarks.support.turns import Loop, Stage, compare, missing_of, take_turns
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import (
    BatchAugment,
    PackedSplit,
    SyntheticComposer,
    create_data_loaders,
    create_dataset,
    generate_dataset,
)
from raytune_ocr.data.synthesis.batches import COMPOSED_AT_ONCE
from raytune_ocr.training import (
    OCRTrainer,
    create_loss_function,
    create_model_from_config,
    create_optimizer,
)
from raytune_ocr.training.allocator import keep_freed_memory
from raytune_ocr.training.checkpoints.rng import seed_everything
from raytune_ocr.training.device import autocast_dtype, get_device
from raytune_ocr.tune import load_space
from raytune_ocr.vocabulary import encode

STEPS = 10  # an epoch
WARM = 6  # turns that do not count
AUGMENTED, KEPT = " + augmentation", " + kept memory"
SHIPPED = "OCRTrainer as shipped"


class InTurns:
    """A loader whose batches are fetched in turns: each fetch begins a turn of `stage`."""

    def __init__(self, loader: DataLoader, stage: Stage) -> None:
        self.loader, self.stage = loader, stage
        self.dataset, self.sampler, self.batch_size = (
            loader.dataset,
            loader.sampler,
            loader.batch_size,
        )

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        for _ in range(len(self.loader)):
            if torch.cuda.is_available():
                torch.cuda.synchronize()  # what was queued belongs to the turn before
            self.stage[0]
            yield next(batches)


class Samples(Dataset):
    """Single samples, as most datasets are written; named for Hugging Face if asked for."""

    def __init__(self, split: PackedSplit, augment: bool, named: bool) -> None:
        self.split, self.named = split, named
        self.augment = BatchAugment() if augment else None
        self.generator = torch.Generator().manual_seed(1)

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> Any:
        image = torch.from_numpy(self.split.images[index]).unsqueeze(0)
        target = torch.from_numpy(self.split.targets[index])
        if self.augment is not None:
            image = self.augment(image.unsqueeze(0), self.generator)[0]
        return {"images": image, "labels": target} if self.named else (image, target)


class WithLoss(nn.Module):
    """The model and its loss in one module, as the other trainers like them."""

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__()
        seed_everything(config.seed)
        self.net = create_model_from_config(config)
        self.loss = create_loss_function(config)

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        out = self.net.read(images)
        return {"loss": self.loss(out.logits, labels, ctc_logits=out.ctc_logits)["loss"]}


@dataclasses.dataclass(frozen=True)
class Work:
    """One model's training, for whoever is to do it.

    Attributes:
        config: of the preset, epochs and precision set.
        split: images and targets in memory.
    """

    config: TrainingConfig
    split: PackedSplit

    @property
    def device(self) -> torch.device:
        return get_device(self.config.device)

    def autocast(self) -> torch.autocast:
        """As `OCRTrainer` does it."""
        dtype = autocast_dtype(self.device)
        enabled = self.config.mixed_precision and dtype is not None
        return torch.autocast(self.device.type, dtype, enabled=enabled)

    def samples(self, augment: bool, named: bool = False) -> DataLoader:
        """A standard loader of single samples."""
        return DataLoader(Samples(self.split, augment, named), self.config.batch_size, shuffle=True)

    def flops(self) -> int:
        """Of a step: forward, backward, and the matrix products of the optimizer."""
        module = WithLoss(self.config).to(self.device).train()
        optimizer = create_optimizer(module, self.config)
        images, labels = next(iter(self.samples(False)))
        with FlopCounterMode(display=False) as counter:
            module(images.to(self.device), labels.to(self.device))["loss"].backward()
            optimizer.step()
        return int(counter.get_total_flops())


# Contestants


def bare(turns: Any, work: Work, augment: bool) -> None:
    """A loop by hand on batches that are there."""
    keep_freed_memory()
    module = WithLoss(work.config).to(work.device).train()
    optimizer = create_optimizer(module, work.config)
    change = BatchAugment() if augment else None
    generator = torch.Generator(work.device).manual_seed(1)
    staged = [[part.to(work.device) for part in batch] for batch in work.samples(False)]
    for _ in range(work.config.num_epochs):
        for images, labels in _each_in_turn(staged, turns.dataset):
            inputs = change(images, generator) if change else images
            with work.autocast():
                out = module.net.read(inputs)
            loss = module.loss(out.logits, labels, ctc_logits=out.ctc_logits)["loss"]
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


def _each_in_turn(batches: Sequence[Any], stage: Stage) -> Iterator[Any]:
    for batch in batches:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        stage[0]
        yield batch


def ours(turns: Any, work: Work, augment: bool) -> None:
    """`OCRTrainer.train` on the package's own loaders; one batch to validate on an epoch."""
    with tempfile.TemporaryDirectory() as folder:
        config = dataclasses.replace(work.config, augmentation=augment, output_dir=folder)
        few = PackedSplit(work.split.images[:32], work.split.targets[:32])
        splits = {config.train_split: work.split, config.val_split: few}
        _train_in_turns(turns, config, work.device, create_data_loaders(config, splits=splits))


def as_shipped(turns: Any, work: Work) -> None:
    """`OCRTrainer` on the data that the preset asks for, composed while it trains if it says so."""
    options = dict(work.config.dataset_options)
    if not options.get("composed"):
        ours(turns, work, work.config.augmentation)
        return
    options["composed"] = 2 * COMPOSED_AT_ONCE  # turns of the second half are not needed
    with tempfile.TemporaryDirectory() as folder:
        data = generate_dataset(f"{folder}/data", sizes={"train": 1, "val": 32, "test": 1})
        config = dataclasses.replace(
            work.config,
            num_epochs=1,
            dataset_options=options,
            metadata_path=str(data),
            output_dir=folder,
        )
        _train_in_turns(turns, config, work.device, create_dataset(config).loaders(config))


def _train_in_turns(turns: Any, config: TrainingConfig, device: Any, loaders: Any) -> None:
    train, val = loaders
    seed_everything(config.seed)
    model = create_model_from_config(config)
    in_turns: Any = InTurns(train, turns.dataset)
    OCRTrainer(model, in_turns, val, config, device).train()


def lightning(turns: Any, work: Work, augment: bool, keeping: bool = False) -> None:
    """Lightning's Trainer with everything off that can be."""
    import lightning as L

    _prepare_other(keeping)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.work = WithLoss(work.config)

        def training_step(self, batch: Any, index: int) -> Tensor:
            return self.work(*batch)["loss"]

        def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
            # `gradient_clip_val` refuses fused optimizers under mixed precision.
            nn.utils.clip_grad_norm_(self.parameters(), work.config.gradient_clip_norm)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return create_optimizer(self, work.config)

    mixed = work.config.mixed_precision and autocast_dtype(work.device) is not None
    L.Trainer(
        max_epochs=work.config.num_epochs,
        accelerator="gpu" if work.device.type == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if mixed else "32-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(Module(), InTurns(work.samples(augment), turns.dataset))


def hugging_face(turns: Any, work: Work, augment: bool, keeping: bool = False) -> None:
    """Hugging Face's Trainer without logging, saving or schedule."""
    import transformers

    _prepare_other(keeping)
    transformers.logging.set_verbosity_error()

    class OnBatches(transformers.Trainer):
        def __init__(self, loader: Any, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.loader = loader

        def get_train_dataloader(self) -> Any:
            return self.loader

    loader = InTurns(work.samples(augment, named=True), turns.dataset)
    module = WithLoss(work.config)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            num_train_epochs=work.config.num_epochs,
            lr_scheduler_type="constant",
            max_grad_norm=work.config.gradient_clip_norm,
            bf16=work.config.mixed_precision and autocast_dtype(work.device) is not None,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=work.device.type == "cpu",
        )
        trainer = OnBatches(
            loader=loader,
            model=module,
            args=arguments,
            train_dataset=loader.dataset,
            optimizers=(create_optimizer(module, work.config), None),
        )
        trainer.train()


def _prepare_other(keeping: bool) -> None:
    warnings.filterwarnings("ignore")
    if keeping:
        keep_freed_memory()


def limit(turns: Any, work: Work, kernel: Kernel) -> None:
    """The kernel in place of a step."""
    compute = kernel.prepared(work.device)
    for _ in _each_in_turn([None] * (work.config.num_epochs * STEPS), turns.dataset):
        compute()


OTHERS: dict[str, tuple[Callable[..., None], tuple[str, ...]]] = {
    "Lightning": (lightning, ("lightning",)),
    "Hugging Face": (hugging_face, ("transformers", "accelerate")),
}
"""Their loops, and the packages that they need."""


def contestants(work: Work, others: bool) -> dict[str, Loop]:
    """Loops by name; whoever is not installed is named and left out."""
    loops: dict[str, Loop] = {}
    for name, loop in (("bare", bare), ("OCRTrainer", ours)):
        loops[name] = functools.partial(loop, work=work, augment=False)
        loops[name + AUGMENTED] = functools.partial(loop, work=work, augment=True)
    for name, (loop, needed) in OTHERS.items() if others else ():
        if missing := missing_of(needed):
            print(f"{name} is left out: no {missing}; pip install '.[bench]'")
            continue
        loops[name] = functools.partial(loop, work=work, augment=False)
        loops[name + KEPT] = functools.partial(loop, work=work, augment=False, keeping=True)
        loops[name + AUGMENTED] = functools.partial(loop, work=work, augment=True)
    return loops


# Figures


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
