"""Segmentation with plain PyTorch: which pixels are the shape, by intersection over union."""

import random

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn

SIZE = 48


def draw(rng):
    """A noisy picture of an ellipse or a polygon, and the mask of its pixels."""
    mask = Image.new("L", (SIZE, SIZE))
    pen = ImageDraw.Draw(mask)
    x, y, radius = rng.randint(14, 34), rng.randint(14, 34), rng.randint(7, 13)
    if rng.random() < 0.5:
        pen.ellipse((x - radius, y - radius // 2, x + radius, y + radius // 2), fill=1)
    else:
        pen.regular_polygon((x, y, radius), rng.randint(3, 6), rng.randint(0, 90), fill=1)
    inside = np.asarray(mask, dtype=np.float32)
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, 0.25, (SIZE, SIZE))
    slope = np.linspace(0, rng.uniform(-0.8, 0.8), SIZE)
    return (inside * rng.uniform(0.4, 0.8) + slope + noise).astype(np.float32), inside


def prepare(images=240):
    """Pictures and masks, float [N, 1, H, W]; the last quarter validates."""
    rng = random.Random(1)
    pictures, masks = zip(*(draw(rng) for _ in range(images)), strict=True)
    tensors = [torch.from_numpy(np.stack(each))[:, None] for each in (pictures, masks)]
    at = images * 3 // 4
    return {"train": [t[:at] for t in tensors], "val": [t[at:] for t in tensors]}


def network(width):
    """Convolutions at half the resolution; logits [B, 1, H, W] of pictures [B, 1, H, W]."""
    return nn.Sequential(
        nn.Conv2d(1, width, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=2, dilation=2),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=4, dilation=4),
        nn.ReLU(),
        nn.ConvTranspose2d(width, 1, 4, stride=2, padding=1),
    )


def iou(logits, masks):
    found, there = logits > 0, masks > 0.5
    return ((found & there).sum() / (found | there).sum().clamp_min(1)).item()


def dice_loss(logits, masks):
    """One minus the soft Dice coefficient, which few pixels of a shape count in as well."""
    shares = logits.sigmoid()
    return 1 - 2 * (shares * masks).sum() / (shares + masks).sum()


def train(parameters, context):
    pictures, masks = context.data["train"]
    model = network(parameters["width"]).to(context.device)
    optimizer = torch.optim.Adam(model.parameters(), parameters["learning_rate"])
    if state := context.load():
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    for _ in range(context.epoch, context.epochs):
        for batch in torch.randperm(len(pictures)).split(16):
            logits = model(pictures[batch].to(context.device))
            loss = dice_loss(logits, masks[batch].to(context.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.inference_mode():
            validated = model(context.data["val"][0].to(context.device)).cpu()
        context.save(model=model.state_dict(), optimizer=optimizer.state_dict())
        context.report(val_iou=iou(validated, context.data["val"][1]), train_loss=loss.item())


def load_model(parameters, state, folder):
    """The trained model, for `export` and `predict`."""
    model = network(parameters["width"])
    model.load_state_dict(state["model"])
    return model.eval()


def example_inputs(parameters):
    """What the model takes, for the export to ONNX: any number of pictures."""
    return (torch.zeros(2, 1, SIZE, SIZE),)
