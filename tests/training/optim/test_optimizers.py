"""Muon: orthogonal updates of matrices and kernels, AdamW's of everything else."""

import copy

import pytest
import torch
from torch import nn, optim

from raytune_ocr.training.optim.optimizers import Muon, orthogonal


def model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 5))


def learn(net: nn.Module, optimizer: optim.Optimizer, steps: int, gain: float = 1.0) -> None:
    for seed in range(steps):
        torch.manual_seed(seed)
        optimizer.zero_grad()
        (gain * net(torch.randn(4, 3, 4, 4)).square().mean()).backward()
        optimizer.step()


@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 16, 144), (3, 64, 5), (1, 1, 9)])
def test_directions_count_alike_down_to_a_three_hundredth_of_the_whole(
    shape: tuple[int, int, int],
) -> None:
    torch.manual_seed(2)
    left, values, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    sizes = torch.logspace(0, -3, values.shape[1])
    sizes = (sizes / sizes.norm()).clamp_min(1 / 300)  # of a whole that is 1
    gradient = left @ torch.diag(sizes) @ right
    updated = torch.linalg.svdvals(orthogonal(gradient))
    assert updated.min() > 0.79
    assert updated.max() < 1.21


def test_an_update_keeps_the_directions_of_the_gradient() -> None:
    torch.manual_seed(4)
    gradient = torch.randn(1, 16, 40)
    left, _, right = torch.linalg.svd(gradient, full_matrices=False)
    inside = left.mT @ orthogonal(gradient) @ right.mT
    assert torch.allclose(inside, torch.diag_embed(inside.diagonal(dim1=1, dim2=2)), atol=1e-3)


def test_an_empty_gradient_changes_nothing() -> None:
    assert torch.equal(orthogonal(torch.zeros(2, 4, 6)), torch.zeros(2, 4, 6))


def test_steps_do_not_depend_on_the_size_of_the_loss() -> None:
    once, thousandfold = model(), model()
    learn(once, Muon(once.parameters(), lr=0.01), steps=1)
    learn(thousandfold, Muon(thousandfold.parameters(), lr=0.01), steps=1, gain=1000.0)
    for name in ("0.weight", "3.weight"):
        assert torch.allclose(once.get_parameter(name), thousandfold.get_parameter(name), atol=1e-5)


@pytest.mark.parametrize("name", ["0.weight", "3.weight"])
def test_a_step_is_as_large_as_one_of_adamw(name: str) -> None:
    net = model()
    before = net.get_parameter(name).detach().clone()
    learn(net, Muon(net.parameters(), lr=0.01, weight_decay=0.0), steps=1)
    change = (net.get_parameter(name) - before).square().mean().sqrt()
    assert 0.1 * 0.01 < change < 0.3 * 0.01


def test_weights_of_one_dimension_are_left_to_adamw() -> None:
    net, other = nn.BatchNorm1d(6), nn.BatchNorm1d(6)
    settings = {"lr": 0.1, "betas": (0.8, 0.99), "weight_decay": 0.1}
    for part, kind in ((net, Muon), (other, optim.AdamW)):
        optimizer = kind(part.parameters(), **settings)
        for seed in range(3):
            torch.manual_seed(seed)
            optimizer.zero_grad()
            (part(torch.randn(8, 6)) * torch.arange(6)).square().sum().backward()
            optimizer.step()
    assert torch.allclose(net.weight, other.weight, atol=1e-6)
    assert torch.allclose(net.bias, other.bias, atol=1e-6)


def test_weight_decay_shrinks_what_has_no_gradient_to_speak_of() -> None:
    weight = nn.Parameter(torch.ones(2, 3))
    weight.grad = torch.zeros(2, 3)
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    assert torch.allclose(weight, torch.full((2, 3), 0.95))


def test_gradients_are_still_there_after_a_step_and_missing_ones_are_passed_over() -> None:
    used, unused = nn.Parameter(torch.randn(2, 3)), nn.Parameter(torch.randn(2, 3))
    before = unused.detach().clone()
    used.grad = torch.randn(2, 3)
    kept = used.grad.clone()
    optimizer = Muon([used, unused], lr=0.1)
    assert optimizer.step(lambda: 7.0) == 7.0
    assert torch.equal(used.grad, kept)
    assert torch.equal(unused, before)


def test_a_loaded_state_continues_to_the_same_weights() -> None:
    whole = model()
    optimizer = Muon(whole.parameters(), lr=0.01)
    learn(whole, optimizer, steps=2)
    resumed = copy.deepcopy(whole)
    again = Muon(resumed.parameters(), lr=0.5)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for net, own in ((whole, optimizer), (resumed, again)):
        learn(net, own, steps=2)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
