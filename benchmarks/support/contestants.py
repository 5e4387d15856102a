"""Loops that train one model in turns: this package's, a bare one, and two other trainers."""

from __future__ import annotations

import dataclasses
import functools
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.support.limits import Kernel
from benchmarks.support.turns import Loop, Stage, missing_of
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import (
    BatchAugment,
    PackedSplit,
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

STEPS = 10  # an epoch
AUGMENTED, KEPT = " + augmentation", " + kept memory"


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
