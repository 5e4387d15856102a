"""What the machine computes at most: the fastest matrix product and convolution in a precision."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from raytune_ocr.training.device import get_device

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
TRIES = 5


@dataclass(frozen=True)
class Kernel:
    """A product of n x n matrices, or a 3 x 3 convolution of n channels over an image.

    Attributes:
        size: n, and for a convolution rows and columns.
        precision: "bf16" or "fp32".
    """

    size: tuple[int, ...]
    precision: str
    batch: int = 32

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        n = self.size[0]
        if len(self.size) == 1:
            return 2 * n**3
        return 2 * 9 * n * n * self.batch * self.size[1] * self.size[2]

    def prepared(self, device: torch.device) -> Callable[[], object]:
        """What computes it once, without gradients."""
        dtype, n = DTYPES[self.precision], self.size[0]
        if len(self.size) == 1:
            a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
            return lambda: a @ b
        images = torch.randn(self.batch, *self.size, device=device, dtype=dtype)
        images = images.to(memory_format=torch.channels_last)
        layer = torch.nn.Conv2d(n, n, 3, padding=1, bias=False, device=device, dtype=dtype)
        layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return torch.no_grad()(lambda: layer(images))


LIMITS: dict[str, Sequence[tuple[int, ...]]] = {
    "convolution": ((64, 32, 64), (128, 16, 32), (256, 16, 32)),
    "GEMM": ((512,), (1024,)),
}


def fastest(sizes: Sequence[tuple[int, ...]], precision: str) -> Kernel:
    """The one of `sizes` with the most operations a second, best of `TRIES`."""
    device = get_device("auto")

    def speed(kernel: Kernel) -> float:
        compute = kernel.prepared(device)
        compute()
        seconds = []
        for _ in range(TRIES):
            _settle(device)
            started = time.perf_counter()
            compute()
            _settle(device)
            seconds.append(time.perf_counter() - started)
        return kernel.flops / min(seconds)

    return max((Kernel(size, precision) for size in sizes), key=speed)


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
