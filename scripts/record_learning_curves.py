"""Record benchmarks/data/reader.npz: learning curves of a small reader, one for each config.

    python scripts/record_learning_curves.py FOLDER --minutes 5

FOLDER keeps the images and the curves recorded so far; run it again until all configs are recorded.
The file is written each time. Each config is trained by the project's own trainer on one core.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import math
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data.synthesis.generator import generate_dataset
from raytune_ocr.errors import DivergenceError
from raytune_ocr.training import create_trainer
from raytune_ocr.training.checkpoints.rng import seed_everything
from raytune_ocr.tune.space.domains import Domain

TABLE = Path(__file__).parents[1] / "benchmarks" / "data" / "reader.npz"
IMAGES = {"train": 1024, "val": 128, "test": 1}
DIGITS = (1, 1)
EPOCHS = 15
CONFIGS = 200
SEED = 17
OPTIMIZERS = ("adamw", "muon", "sgd")
SCHEDULES = ("cosine", "none", "steplr")
SPACE = {
    "learning_rate": ("log", Domain("loguniform", (1e-3, 3e-1))),
    "weight_decay": ("log", Domain("loguniform", (1e-6, 1e-1))),
    "momentum": ("log1m", Domain("uniform", (0.0, 0.99))),
    "batch_size": ("log", Domain("choice", (32, 64, 128))),
    "width": ("log", Domain("randint", (4, 16))),
    "dropout": ("linear", Domain("uniform", (0.0, 0.5))),
    "optimizer": ("choice", Domain("randint", (0, len(OPTIMIZERS) - 1))),
    "schedule": ("choice", Domain("randint", (0, len(SCHEDULES) - 1))),
    "augmentation": ("choice", Domain("randint", (0, 1))),
}
"""By setting, its scale in the table and its domain; choices are numbers."""


def drawn(number: int) -> dict[str, float]:
    """The settings of the config of that number."""
    rng = random.Random(f"{SEED}/{number}")
    return {name: domain.draw(rng) for name, (_, domain) in SPACE.items()}


def config_of(values: Mapping[str, Any], folder: Path) -> TrainingConfig:
    """A training with these settings: a reader of two convolutions."""
    width = int(values["width"])
    architecture = {
        "channels": [width, 2 * width],
        "temporal_width": 2 * width,
        "hidden": 2 * width,
        "dilations": [1],
        "patch": 4,
        "dropout": values["dropout"],
    }
    fields = {
        "model_name": "small",
        "model_options": architecture,
        "metadata_path": str(folder / "images" / "metadata.yaml"),
        "output_dir": str(folder / "run"),
        "num_epochs": EPOCHS,
        "learning_rate": values["learning_rate"],
        "weight_decay": values["weight_decay"],
        "optimizer_betas": [values["momentum"], 0.999],
        "batch_size": int(values["batch_size"]),
        "optimizer_type": OPTIMIZERS[int(values["optimizer"])],
        "scheduler_type": SCHEDULES[int(values["schedule"])],
        "step_size": 5,
        "augmentation": bool(values["augmentation"]),
        "early_stopping_patience": 0,
        "save_every_n_epochs": EPOCHS + 1,
        "use_tensorboard": False,
        "num_workers": 0,
        "device": "cpu",
        "seed": SEED,
    }
    return TrainingConfig.from_fields(fields)


def curve(config: TrainingConfig) -> list[float]:
    """The validation loss before training and after each epoch; NaN once it has diverged."""
    seed_everything(config.seed)
    trainer = create_trainer(config)
    untrained = trainer.loop.evaluate(trainer.val_loader)["loss"]
    with contextlib.suppress(DivergenceError):  # the rest of its curve is missing
        trainer.train()
    losses = [untrained, *(float(epoch["val_loss"]) for epoch in trainer.training_history)]
    return [*losses, *[math.nan] * (EPOCHS + 1 - len(losses))]


def record(folder: Path, seconds: float) -> list[list[float]]:
    """The curves recorded so far, and those of the next configs until the time is over."""
    end = time.monotonic() + seconds
    if not (folder / "images" / "metadata.yaml").exists():
        generate_dataset(folder / "images", seed=SEED, lengths=DIGITS, sizes=IMAGES)
    file = folder / "curves.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    curves: list[list[float]] = [json.loads(line) for line in lines]
    while len(curves) < CONFIGS and time.monotonic() < end:
        curves.append(curve(config_of(drawn(len(curves)), folder)))
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(curves[-1]) + "\n")
    return curves


def write_table(curves: list[list[float]], path: Path) -> None:
    """Write the curves in the format of `benchmarks.support.tables`."""
    loss = np.array(curves, dtype=np.float32)[None]
    configs = [list(drawn(number).values()) for number in range(len(curves))]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        tasks=np.array(["reader"]),
        names=np.array(list(SPACE)),
        scales=np.array([scale for scale, _ in SPACE.values()]),
        configs=np.array(configs),
        loss=loss,
        finite=np.isfinite(loss).all(-1),
    )


def main() -> None:
    """Record for a while and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--output", type=Path, default=TABLE, metavar="FILE.npz")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    curves = record(options.folder, 60.0 * options.minutes)
    write_table(curves, options.output)
    print(f"{len(curves)} of {CONFIGS} configs: {options.output}")


if __name__ == "__main__":
    main()
