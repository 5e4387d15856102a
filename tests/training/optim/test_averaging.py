import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from raytune_ocr.training.optim.averaging import MovingAverage


def trained_steps(model, steps=6):
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(steps):
        optimizer.zero_grad()
        inputs = torch.randn(8, 4)
        (model(inputs) - inputs[:, :3]).square().mean().backward()
        optimizer.step()
        yield


def test_with_a_small_decay_it_is_torchs_own_average_of_weights_and_buffers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3))
    ours = MovingAverage(model, decay=0.15)  # below what the number of updates allows
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.15), use_buffers=True)
    for _ in trained_steps(model):
        ours.update()
        theirs.update_parameters(model)
    assert ours.updates == 6
    averaged = ours.model.state_dict()
    for name, value in theirs.module.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(averaged[name], value, atol=1e-6), name
            assert not torch.allclose(averaged[name], model.state_dict()[name], atol=1e-4), name
    assert averaged["0.num_batches_tracked"] == model[0].num_batches_tracked == 6


def test_weights_of_the_beginning_are_soon_forgotten_whatever_the_decay():
    model = nn.Linear(1, 1, bias=False)
    average = MovingAverage(model, decay=0.9999)
    with torch.no_grad():
        for value in [100.0] + [1.0] * 30:
            model.weight.fill_(value)
            average.update()
    assert average.model.weight.item() < 1.01  # 0.9999 alone would leave it near 100
