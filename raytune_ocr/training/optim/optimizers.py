"""PyTorch's optimizers without its compiler, and Muon, which learns from fewer images.

Muon is for matrices and kernels of convolutions: it replaces the momentum of each by the nearest
orthogonal matrix, so that directions of rare examples are learned as fast as the others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, optim

Kind = TypeVar("Kind", bound=type[optim.Optimizer])

# Coefficients of odd polynomials a x + b x^3 + c x^5 that, applied one after another, map every x
# in (0.003, 1] to within 0.2 of 1. Each comes closest to 1 on the range that those before it leave.
POLYNOMIALS = (
    (8.3837, -24.7659, 18.3571),
    (4.0434, -3.0114, 0.5695),
    (3.5056, -2.6267, 0.5257),
    (2.4901, -1.8343, 0.4368),
)
ADAM_RMS = 0.2  # root mean square of a step of AdamW, in learning rates, as measured in training


def _without_compiler(kind: Kind) -> Kind:
    """The same optimizer without the import of torch's compiler, which it does not use.

    torch imports it when an optimizer is made and at each step: 1.2 s of every process that trains.
    """
    for name in ("__init__", "zero_grad", "add_param_group", "state_dict", "load_state_dict"):
        plain = inspect.unwrap(getattr(kind, name))
        vars(plain).setdefault("__dynamo_disable", plain)  # where torch looks for it
    step = torch.no_grad()(inspect.unwrap(kind.step))
    return cast(Kind, type(kind.__name__, (kind,), {"step": step}))


Adam, AdamW, SGD = map(_without_compiler, (optim.Adam, optim.AdamW, optim.SGD))


class Muon(AdamW):  # type: ignore[misc, valid-type]
    """Orthogonal updates of matrices and kernels; all other weights learn by AdamW.

    Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024), with
    Nesterov's momentum; scaled as in Liu et al., "Muon is scalable for LLM training" (2025), so
    that its steps are as large as AdamW's and learning rate and weight decay mean the same.
    PyTorch's own (2.9 on) takes matrices alone, one at a time.

    Args:
        params: weights or groups of them; those with two dimensions or more are orthogonalised,
            a kernel [O, I, H, W] as the matrix [O, I H W].
        lr: learning rate, of AdamW's size.
        betas: the first is the momentum of matrices too.
        weight_decay: decoupled, as AdamW's.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 1e-2,
    ) -> None:
        # Not fused: a scaler of gradients then takes out its scale before the step.
        super().__init__(params, lr=lr, betas=betas, weight_decay=weight_decay, foreach=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all weights that have gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        done = []
        for group in self.param_groups:
            matrices = [p for p in group["params"] if p.ndim > 1 and p.grad is not None]
            if matrices:
                self._update(matrices, group)
            done += [(matrix, matrix.grad) for matrix in matrices]
        for matrix, _ in done:
            matrix.grad = None  # AdamW skips weights without a gradient
        super().step()
        for matrix, gradient in done:
            matrix.grad = gradient
        return loss

    def _update(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        """One step of `matrices`, those of one shape together."""
        momentum, learning_rate = group["betas"][0], group["lr"]
        for matrix in matrices:
            if not self.state[matrix]:
                self.state[matrix]["step"] = torch.tensor(0.0)  # as AdamW counts
                self.state[matrix]["exp_avg"] = torch.zeros_like(matrix)
            self.state[matrix]["step"] += 1
        gradients = [cast(Tensor, matrix.grad) for matrix in matrices]
        averages = [self.state[matrix]["exp_avg"] for matrix in matrices]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, averages, momentum)
        torch._foreach_mul_(matrices, 1 - learning_rate * group["weight_decay"])
        alike: dict[torch.Size, list[int]] = {}
        for number, matrix in enumerate(matrices):
            alike.setdefault(matrix.shape, []).append(number)
        for shape, numbers in alike.items():
            flat = torch.stack([ahead[number].flatten(1) for number in numbers])
            scale = ADAM_RMS * max(flat.shape[1:]) ** 0.5
            for number, update in zip(numbers, orthogonal(flat), strict=True):
                matrices[number].add_(update.view(shape), alpha=-learning_rate * scale)


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest orthogonal matrices of `matrices` [N, R, C], with singular values 0.8 to 1.2.

    The polynomials are applied as in Amsel et al., "The Polar Express" (2025), on the smaller of
    the two products of the matrix with itself: half the time where one side is much longer.
    """
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    scaled = wide / (wide.norm(dim=(1, 2), keepdim=True) + 1e-7)
    product = scaled @ scaled.mT
    whole = None
    for step, (a, b, c) in enumerate(POLYNOMIALS):
        factor = torch.baddbmm(product, product, product, beta=b, alpha=c)
        factor.diagonal(dim1=1, dim2=2).add_(a)
        whole = factor if whole is None else factor @ whole
        if step < len(POLYNOMIALS) - 1:
            product = factor @ product @ factor
    updates = whole @ scaled
    return updates if wide is matrices else updates.mT
