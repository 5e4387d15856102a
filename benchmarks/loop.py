"""What `Trainer.train` costs over a bare PyTorch loop, beside Lightning's and Hugging Face's.

The same model, weights, optimizer and batches for all; they take turns step by step, each in a
process of its own, epochs' ends included and start-up left out. The bare loop does what anybody
would write: forward, loss, backward, step, and the mean loss of an epoch. It keeps freed memory as
`Trainer` does; the other two run as they come.
"""

from __future__ import annotations

import argparse
import functools
import io
import logging
import statistics
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.support.report import table, write
from benchmarks.support.turns import Loop, compare, missing_of, take_turns
from raytune_ocr.models import create_model
from raytune_ocr.training import Trainer
from raytune_ocr.training.allocator import keep_freed_memory

Batches = list[tuple[Tensor, Tensor]]


def work(name: str, steps: int) -> tuple[nn.Module, Batches]:
    """A model and the batches of an epoch."""
    torch.manual_seed(1)
    if name == "tiny":
        model: nn.Module = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
        shape: tuple[int, ...] = (32, 32)
    else:
        model, shape = create_model("image_classifier", num_classes=10), (64, 1, 64, 64)
    batches = [(torch.randn(shape), torch.randint(0, 10, shape[:1])) for _ in range(steps)]
    return model, batches


def bare(loader: Any, model: nn.Module, epochs: int) -> None:
    """A loop by hand."""
    keep_freed_memory()
    net = model.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for _ in range(epochs):
        total = 0.0
        for inputs, labels in loader:
            loss = cross_entropy(net(inputs), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            total += loss.item()


def ours(loader: Any, model: nn.Module, epochs: int) -> None:
    """`raytune_ocr.training.Trainer`."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    Trainer(model, optimizer, cross_entropy, device=torch.device("cpu")).train(loader, epochs)


def lightning(loader: Any, model: nn.Module, epochs: int) -> None:
    """Lightning's Trainer with everything off that can be."""
    import lightning as L

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def training_step(self, batch: Any, index: int) -> Tensor:
            inputs, labels = batch
            return cross_entropy(self.net(inputs), labels)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(Module(), loader)


def hugging_face(loader: Any, model: nn.Module, epochs: int) -> None:
    """Hugging Face's Trainer without clipping, logging, saving or schedule; batches are named."""
    import transformers

    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
            return {"loss": cross_entropy(self.net(inputs), labels)}

    class OnBatches(transformers.Trainer):
        def get_train_dataloader(self) -> Any:
            return loader

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            learning_rate=1e-3,
            lr_scheduler_type="constant",
            optim="adamw_torch",
            max_grad_norm=0.0,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        with redirect_stdout(io.StringIO()):
            OnBatches(model=Net(), args=arguments, train_dataset=loader.dataset).train()


CONTESTANTS: dict[str, tuple[Callable[..., None], tuple[str, ...]]] = {
    "bare": (bare, ()),
    "Trainer": (ours, ()),
    "Lightning": (lightning, ("lightning",)),
    "Hugging Face": (hugging_face, ("transformers", "accelerate")),
}
"""Loops, and the packages that they need."""


def race(name: str, steps: int, epochs: int) -> list[dict[str, Any]]:
    """All contestants on one kind of work: a row each."""
    model, batches = work(name, steps)
    loops: dict[str, Loop] = {}
    for contestant, (loop, needed) in CONTESTANTS.items():
        if missing := missing_of(needed):
            print(f"{contestant} is left out: no {missing}; pip install '.[bench]'")
        else:
            loops[contestant] = functools.partial(loop, model=model, epochs=epochs)
    named = [{"inputs": inputs, "labels": labels} for inputs, labels in batches]
    stages = take_turns(loops, {who: named if who == "Hugging Face" else batches for who in loops})
    rows = []
    for contestant, stage in stages.items():
        over_bare = compare(stages, contestant, "bare", skip=steps)
        over_ours = compare(stages, contestant, "Trainer", skip=steps)
        rows.append(
            {
                "work": name,
                "loop": contestant,
                "over bare": over_bare.wall,
                "95 %": over_bare.interval,
                "over Trainer": over_ours.wall,
                "95 % of it": over_ours.interval,
                "cpu over bare": over_bare.cpu,
                "cpu over Trainer": over_ours.cpu,
                "us a step": 1e6 * statistics.median(stage.seconds[steps:]),
            }
        )
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30, help="the first one is not counted")
    parser.add_argument("--steps", type=int, default=15, help="an epoch; ten times that for tiny")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = race("convolutions", arguments.steps, arguments.epochs)
    rows += race("tiny", 10 * arguments.steps, arguments.epochs)
    print(table(rows))
    print(write("loop", {"epochs": arguments.epochs, "steps": arguments.steps, "rows": rows}))


if __name__ == "__main__":
    main()
