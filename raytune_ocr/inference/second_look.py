"""Read doubtful images again at two other sizes.

Pixels and noise fall on other columns then, so that an accident of one size is outvoted by the
others. Nearly all that is misread is doubtful, and little that is read rightly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from raytune_ocr.models.decode import greedy_decode, log_likelihood
from raytune_ocr.vocabulary import EOS_TOKEN_ID

DOUBTFUL = 0.9  # confidence below which an image is looked at again
ZOOMS = (0.9, 1.1)  # of a dozen sets of sizes and turns about the best on composed images


def read_once(
    model: nn.Module, kind: str, images: Tensor, batch_size: int = 64
) -> tuple[Tensor, Tensor]:
    """The likeliest reading of each image: `greedy_decode` of its logits.

    A reading without an end, of more digits than a label has, has confidence 0.
    """
    ids, confidences = greedy_decode(_logits(model, images, batch_size), kind)
    return ids, confidences * _ends(ids)


def read_carefully(
    model: nn.Module, kind: str, images: Tensor, batch_size: int = 64
) -> tuple[Tensor, Tensor]:
    """The likeliest reading of each image, looked at again where it is doubtful.

    Each look proposes its reading; the one that all looks together find likeliest is kept, and
    its confidence is the mean of the probabilities that they give to it. An image in which no
    digit was found, or more than a reading holds, is not looked at again.

    Args:
        model: gives logits of images; in evaluation mode.
        kind: `attention` or `ctc`.
        images: uint8 [B, C, H, W]; some hundreds, so that second looks fill batches, too.
        batch_size: images that the model sees at a time.

    Returns:
        ids int64 [B, SEQUENCE_LENGTH] and confidences float32 [B], as `greedy_decode` does.
    """
    logits = _logits(model, images, batch_size)
    ids, confidences = greedy_decode(logits, kind)
    confidences *= _ends(ids)
    whole = (ids[:, 0] != EOS_TOKEN_ID) & _ends(ids)
    doubtful = ((confidences < DOUBTFUL) & whole).nonzero()[:, 0]
    if len(doubtful):
        zooms = torch.cat([zoomed(images[doubtful], factor) for factor in ZOOMS])
        again = _logits(model, zooms, batch_size)
        looks = [logits[doubtful], *again.chunk(len(ZOOMS))]
        ids[doubtful], confidences[doubtful] = _agreed(looks, kind)
    return ids, confidences


def zoomed(images: Tensor, factor: float) -> Tensor:
    """`images` uint8 [B, C, H, W] enlarged about their middle by `factor`, in the same frame.

    What comes in from outside repeats the border.
    """
    rows, columns = (
        torch.linspace(-1 + 1 / size, 1 - 1 / size, size, device=images.device) / factor
        for size in images.shape[-2:]
    )
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    grid = grid.expand(len(images), -1, -1, -1)
    pixels = functional.grid_sample(
        images.float(), grid, padding_mode="border", align_corners=False
    )
    return pixels.round().clamp(0, 255).to(torch.uint8)


def _ends(ids: Tensor) -> Tensor:
    """Whether readings [B, SEQUENCE_LENGTH] come to an end, bool [B]."""
    return ids[:, -1] == EOS_TOKEN_ID


def _logits(model: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    return torch.cat([model(part) for part in images.split(batch_size)])


def _agreed(looks: list[Tensor], kind: str) -> tuple[Tensor, Tensor]:
    """The proposed reading of the highest likelihood by all looks, and its mean probability."""
    proposed = torch.stack([greedy_decode(logits, kind)[0] for logits in looks])
    by_look = torch.stack(
        [torch.stack([log_likelihood(logits, kind, ids) for logits in looks]) for ids in proposed]
    )
    best = by_look.sum(dim=1).argmax(dim=0)
    every = torch.arange(len(best), device=best.device)
    ids = proposed[best, every]
    return ids, by_look[best, :, every].exp().mean(dim=1) * _ends(ids)
