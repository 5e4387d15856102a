"""A model of one's own, registered by name, and a folder of images to train it on.

Run this file to draw the images: `python shapes.py photos`.
"""

import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw
from torch import nn

from raytune_ocr.models import ModelRegistry

CORNERS = {"circle": 0, "triangle": 3, "square": 4}


@ModelRegistry.register("shape_net")
class ShapeNet(nn.Module):
    """Two convolutions; `num_classes` and `in_channels` come from the dataset."""

    def __init__(self, num_classes, in_channels=1, width=8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, width, 5, stride=4),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 5, stride=2),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * width, num_classes),
        )

    def forward(self, images):
        """Logits [B, num_classes] of images uint8 [B, C, H, W]."""
        return self.layers(images.float() / 255 - 0.5)


def draw(shape, rng):
    """One shape at a random place and size, turned a little."""
    picture = Image.new("L", (64, 64), rng.randint(0, 80))
    pen = ImageDraw.Draw(picture)
    x, y, radius = rng.randint(22, 42), rng.randint(22, 42), rng.randint(10, 20)
    colour = rng.randint(150, 255)
    if CORNERS[shape]:
        pen.regular_polygon((x, y, radius), CORNERS[shape], rng.randint(-10, 10), fill=colour)
    else:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return picture


def main(folder, images_per_class=100):
    """A folder for each shape."""
    rng = random.Random(1)
    for shape in CORNERS:
        path = Path(folder) / shape
        path.mkdir(parents=True, exist_ok=True)
        for number in range(images_per_class):
            draw(shape, rng).save(path / f"{number:03d}.png")


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
