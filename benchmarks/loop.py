"""What `Trainer.train` costs over a bare PyTorch loop, beside Lightning's and Hugging Face's.

The same model, weights, optimizer and batches for all; they take turns in one process. The bare
loop does what anybody would write: forward, loss, backward, step, and the mean loss of an epoch.
"""

from __future__ import annotations

import argparse
import copy
import io
import logging
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from benchmarks.report import paired_ratio, paired_seconds, table, write
from raytune_ocr.models import create_model
from raytune_ocr.training import Trainer

Batches = list[tuple[Tensor, Tensor]]
EPOCHS = 2


def work(name: str, steps: int) -> tuple[nn.Module, Batches]:
    """A model and its batches."""
    torch.manual_seed(1)
    if name == "tiny":
        model: nn.Module = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
        shape: tuple[int, ...] = (32, 32)
    else:
        model, shape = create_model("image_classifier", num_classes=10), (64, 1, 64, 64)
    batches = [(torch.randn(shape), torch.randint(0, 10, shape[:1])) for _ in range(steps)]
    return model, batches


def loader(batches: Batches) -> DataLoader:
    """The batches as they are."""
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


def bare(model: nn.Module, batches: Batches) -> Callable[[], None]:
    """A loop by hand."""

    def run() -> None:
        net = copy.deepcopy(model).train()
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
        for _ in range(EPOCHS):
            total = 0.0
            for inputs, labels in loader(batches):
                loss = cross_entropy(net(inputs), labels)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                total += loss.item()

    return run


def ours(model: nn.Module, batches: Batches) -> Callable[[], None]:
    """`raytune_ocr.training.Trainer`."""

    def run() -> None:
        net = copy.deepcopy(model)
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
        Trainer(net, optimizer, cross_entropy, device=torch.device("cpu")).train(
            loader(batches), EPOCHS
        )

    return run


def lightning(model: nn.Module, batches: Batches) -> Callable[[], None]:
    """Lightning's Trainer with everything off that can be."""
    import lightning as L

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = copy.deepcopy(model)

        def training_step(self, batch: Any, index: int) -> Tensor:
            inputs, labels = batch
            return cross_entropy(self.net(inputs), labels)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    def run() -> None:
        L.Trainer(
            max_epochs=EPOCHS,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(Module(), loader(batches))

    return run


def hugging_face(model: nn.Module, batches: Batches) -> Callable[[], None]:
    """Hugging Face's Trainer without clipping, logging, saving or schedule."""
    import transformers

    transformers.logging.set_verbosity_error()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = copy.deepcopy(model)

        def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
            return {"loss": cross_entropy(self.net(inputs), labels)}

    class OnBatches(transformers.Trainer):
        def get_train_dataloader(self) -> Any:
            named = [{"inputs": inputs, "labels": labels} for inputs, labels in batches]
            return DataLoader(named, batch_size=None)  # type: ignore[arg-type]

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            arguments = transformers.TrainingArguments(
                output_dir=folder,
                num_train_epochs=EPOCHS,
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
                OnBatches(model=Net(), args=arguments, train_dataset=batches).train()

    return run


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--steps", type=int, default=15, help="an epoch; ten times that for tiny")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    rows = []
    for name in ("convolutions", "tiny"):
        steps = arguments.steps * (10 if name == "tiny" else 1)
        model, batches = work(name, steps)
        contestants = {"bare": bare(model, batches), "Trainer": ours(model, batches)}
        for other, make in (("Lightning", lightning), ("Hugging Face", hugging_face)):
            try:
                contestants[other] = make(model, batches)
            except ImportError as error:
                print(f"{other} is left out: {error}; pip install '.[bench]'")
        seconds = paired_seconds(contestants, arguments.rounds)
        rows += [
            {
                "work": name,
                "loop": loop,
                "over bare": paired_ratio(seconds[loop], seconds["bare"]),
                "over Trainer": paired_ratio(seconds[loop], seconds["Trainer"]),
                "us a step": 1e6 * min(seconds[loop]) / (EPOCHS * steps),
            }
            for loop in contestants
        ]
    print(table(rows))
    print(write("loop", {"rounds": arguments.rounds, "rows": rows}))


if __name__ == "__main__":
    main()
