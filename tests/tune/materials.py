"""What the runs of several tests are made of: a small model, photos for it, and patience."""

import os
import textwrap
import time

from PIL import Image

MODULE = """
import time
import torch
from torch import nn
from raytune_ocr.models import ModelRegistry

@ModelRegistry.register("{name}")
class Small(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.linear = nn.Linear(64, num_classes)
        self.register_buffer("batches", torch.zeros(()))  # that it was trained on

    def forward(self, images):
        self.batches += self.training
{first}
        return self.linear(images.float().mean(dim=(1, 2)) / 255)
"""


def module_with_a_model(name, first="pass"):
    """The text of a module that registers a model; its `forward` does `first` before all else."""
    return MODULE.format(name=name, first=textwrap.indent(textwrap.dedent(first), " " * 8))


def allowed(seconds: float) -> float:
    """The limit on a machine that has the time; where cores are shared by many, as much more."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def wait_until(holds, process=None, seconds=120):
    """Return as soon as `holds()`; fail where `process` ends before, or the time does."""
    until = time.monotonic() + allowed(seconds)
    while not holds():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until, f"not in {seconds} s"
        time.sleep(0.1)


def draw_photos(folder, number=40):
    """A folder `photos` of dark and light ones, by class."""
    for place in range(number):
        file = folder / "photos" / ("dark", "light")[place % 2] / f"{place}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (64, 64), 100 + 50 * (place % 2)).save(file)


def train_record(record, epoch, value):
    """Up to that epoch, with that accuracy in the new ones."""
    for number in range(len(record.epochs) + 1, epoch + 1):
        row = {"epoch": number, "val_char_accuracy": value, "val_seq_accuracy": value}
        record.add({**row, "train_loss": 1.0, "seconds": 1.0})
