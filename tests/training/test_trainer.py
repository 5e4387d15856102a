import copy
import functools
import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from raytune_ocr.errors import (
    ConfigurationError,
    DataLoaderError,
    DivergenceError,
    ExperimentFailedError,
)
from raytune_ocr.training import Callback, Trainer, get_device, seed_everything
from raytune_ocr.training.callbacks.epoch_log import EpochLog, read_epoch_log
from tests.fixtures.trainers import loader, trainer


def test_training_lowers_the_loss_and_returns_one_value_an_epoch():
    history = trainer().train(loader(), 8, loader(shuffle=False))
    assert len(history["train_loss"]) == len(history["eval_loss"]) == 8
    assert history["eval_loss"][-1] < 0.5 * history["eval_loss"][0]


def test_a_resumed_run_is_bit_equal_to_one_that_was_not_stopped(tmp_path):
    whole = trainer()
    expected = whole.train(loader(), 6, loader(shuffle=False))
    trainer().train(loader(), 3, loader(shuffle=False), save_dir=tmp_path)
    second = trainer()
    torch.rand(7)  # whatever happens between must not matter
    second.load_checkpoint(str(tmp_path / "checkpoint_epoch_0003.pt"))
    history = second.train(loader(), 6, loader(shuffle=False), save_dir=tmp_path)
    assert history["eval_loss"] == expected["eval_loss"]
    assert history["train_loss"] == expected["train_loss"]
    for ours, theirs in zip(second.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_resume_in_the_middle_of_the_patience_stops_at_the_same_epoch(tmp_path):
    def run(instance, epochs):
        evaluation = loader(shuffle=False)
        return instance.train(
            loader(), epochs, evaluation, save_dir=tmp_path, early_stopping_patience=3
        )

    whole = trainer(learning_rate=0.0)
    run(whole, 20)
    assert (whole.epoch, whole.stop_reason) == (4, "early_stopping")
    run(trainer(learning_rate=0.0), 3)
    resumed = trainer(learning_rate=0.0)
    resumed.load_checkpoint(str(tmp_path / "checkpoint_epoch_0003.pt"))
    run(resumed, 20)
    assert (resumed.epoch, resumed.stop_reason) == (4, "early_stopping")


def test_accumulated_gradients_equal_those_of_the_large_batch():
    accumulated = trainer({"training": {"gradient_accumulation_steps": 4}})
    large = trainer()
    for instance, size in ((accumulated, 16), (large, 64)):
        instance.model[2].p = 0.0
        instance.train(loader(batch_size=size, shuffle=False), 3)
    for ours, theirs in zip(accumulated.model.parameters(), large.model.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_gradients_left_over_at_the_end_of_an_epoch_are_used():
    instance = trainer({"training": {"gradient_accumulation_steps": 100}})
    before = instance.model[0].weight.clone()
    instance.train(loader(), 1)
    assert not torch.equal(before, instance.model[0].weight)


def test_the_gradient_is_clipped():
    class Settings:
        max_grad_norm = 1e-9

    class Config:
        training = Settings()

    instance = trainer(Config())
    instance.optimizer = torch.optim.SGD(instance.model.parameters(), lr=1.0)
    before = instance.model[0].weight.clone()
    instance.train_step(next(iter(loader())))
    assert torch.allclose(before, instance.model[0].weight, atol=1e-8)


def test_what_is_evaluated_and_saved_is_the_moving_average_of_the_weights(tmp_path):
    instance = trainer({"training": {"ema_decay": 0.4}})
    seen = []
    evaluated = []

    class Watch(Callback):
        watches_steps = True

        def on_step_end(self, loop, step, figures):
            seen.append(loop.model[0].weight.detach().clone())

        def on_epoch_end(self, loop, epoch, metrics):
            evaluated.append(metrics["eval_loss"])
            assert loop.model.training

    instance.train(loader(), 2, loader(shuffle=False), save_dir=tmp_path, callbacks=[Watch()])
    expected = seen[0]
    for n, weight in enumerate(seen[1:], 1):
        decay = min(0.4, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * weight
    kept = torch.load(tmp_path / "best_model.pt", weights_only=True)["model_state_dict"]
    assert torch.allclose(kept["0.weight"], expected, atol=1e-6)
    assert not torch.allclose(kept["0.weight"], instance.model[0].weight, atol=1e-3)
    plain = trainer()
    plain.model.load_state_dict(kept)
    assert plain.evaluate(loader(shuffle=False))["loss"] == pytest.approx(evaluated[-1], rel=1e-6)


@pytest.mark.parametrize(("before", "after"), [(0.9, 0.0), (0.0, 0.9)])
def test_a_run_continues_from_the_trained_weights_with_or_without_an_average(
    tmp_path, before, after
):
    first = trainer({"training": {"ema_decay": before}})
    first.train(loader(), 2, save_dir=tmp_path)
    second = trainer({"training": {"ema_decay": after}})
    second.load_checkpoint(str(tmp_path / "checkpoint_epoch_0002.pt"))
    for ours, theirs in zip(second.model.parameters(), first.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert second.evaluated_model is second.model  # nothing averaged yet


def test_means_are_over_samples_not_over_batches():
    instance = trainer()
    ragged = instance.evaluate(loader(samples=17, shuffle=False))
    whole = instance.evaluate(loader(samples=17, batch_size=17, shuffle=False))
    assert ragged["loss"] == pytest.approx(whole["loss"])


def test_no_batch_is_an_error_and_never_a_perfect_score():
    with pytest.raises(DataLoaderError, match="no batch"):
        trainer().evaluate([])


def test_a_loss_that_is_not_finite_stops_with_the_learning_rate():
    bad = [(torch.full((4, 10), float("nan")), torch.zeros(4, 1))]
    instance = trainer()
    before = [p.clone() for p in instance.model.parameters()]
    with pytest.raises(DivergenceError, match=r"epoch 1, step 1, at learning rate 0\.05"):
        instance.train(bad, 1)
    for old, new in zip(before, instance.model.parameters(), strict=True):
        assert torch.equal(old, new)


def test_an_unknown_monitor_lists_the_metrics_there_are():
    with pytest.raises(ConfigurationError, match=r"'val_f1' \(known: .*train_loss"):
        trainer().train(loader(), 1, best_model_metric="val_f1", early_stopping_patience=1)


def test_a_callback_that_raises_is_named():
    def faulty(trainer, epoch, metrics):
        raise KeyError("x")

    with pytest.raises(ExperimentFailedError, match=r"'faulty' raised in epoch 1"):
        trainer().train(loader(), 1, callbacks=[faulty])


def test_callbacks_see_every_epoch_and_may_stop():
    seen = []

    def stop_at_two(trainer, epoch, metrics):
        seen.append((epoch, metrics["train_loss"]))
        trainer.should_stop = epoch == 1

    history = trainer().train(loader(), 9, callbacks=[stop_at_two])
    assert [epoch for epoch, _ in seen] == [0, 1]
    assert [loss for _, loss in seen] == history["train_loss"]


def test_a_model_that_returns_its_own_loss_trains_without_a_loss_function():
    class OwnLoss(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 1)

        def forward(self, x, labels):
            return {"loss": (self.linear(x) - labels).square().mean()}

    batches = [{"x": torch.ones(4, 2), "labels": torch.ones(4, 1)}] * 20
    model = OwnLoss()
    instance = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), None)
    history = instance.train(batches, 3)
    assert history["train_loss"][-1] < 1e-3


def test_a_metric_of_some_epochs_alone_leaves_every_list_as_long(tmp_path):
    class Sometimes(Trainer):
        def train_epoch(self, *args, **kwargs):
            metrics = super().train_epoch(*args, **kwargs)
            return metrics | ({"gpu_memory_mb": 1.0} if self.epoch == 1 else {})

    plain = trainer()
    instance = Sometimes(plain.model, plain.optimizer, nn.MSELoss(), device=torch.device("cpu"))
    log = EpochLog(tmp_path / "training.log", 3)
    history = instance.train(loader(), 3, callbacks=[log])
    assert {len(values) for values in history.values()} == {3}
    instance.load_state_dict(instance.state_dict())
    instance.train(loader(), 4, callbacks=[log])
    read = read_epoch_log(log.path)
    assert [math.isnan(value) for value in read["gpu_memory_mb"]] == [True, False, True, True]
    assert len(read["train_loss"]) == 4


def test_figures_of_numpy_are_saved_as_numbers_that_can_be_read_again(tmp_path):
    class Mean:
        def reset(self):
            self.seen = []

        def update(self, predictions, targets):
            self.seen.append(float(predictions.mean()))

        def compute(self):
            return {"mean": np.mean(self.seen)}

    instance = trainer()
    instance.eval_metrics = Mean()
    instance.train(loader(), 1, loader(), save_dir=tmp_path)
    assert trainer().load_checkpoint(str(tmp_path / "checkpoint_epoch_0001.pt"))["epoch"] == 1


def test_what_was_gathered_of_an_epoch_that_was_broken_off_does_not_count():
    settings = {"training": {"gradient_accumulation_steps": 4}}
    whole, broken = trainer(settings), trainer(settings)
    state = copy.deepcopy(broken.state_dict())
    broken.train_step(next(iter(loader())))
    broken.load_state_dict(state)
    whole.load_state_dict(state)
    seed_everything(5)
    expected = whole.train(loader(), 2)["train_loss"]
    seed_everything(5)
    assert broken.train(loader(), 2)["train_loss"] == expected


def test_batches_may_be_named_tuples():
    class Batch(NamedTuple):
        inputs: torch.Tensor
        targets: torch.Tensor

    batches = [Batch(*batch) for batch in loader()]
    assert len(trainer().train(batches, 1)["train_loss"]) == 1


def test_leftover_batches_are_weighted_by_their_number():
    ragged = trainer({"training": {"gradient_accumulation_steps": 4}}, learning_rate=0.0)
    whole = trainer({"training": {"gradient_accumulation_steps": 2}}, learning_rate=0.0)
    for instance in (ragged, whole):
        instance.model[2].p = 0.0
        instance.optimizer = torch.optim.SGD(instance.model.parameters(), 0.1)
        instance.train_pass(list(loader(samples=32, shuffle=False)))
    for ours, theirs in zip(ragged.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-7)


def test_weight_decay_of_the_config_leaves_groups_without_decay_alone():
    model = nn.Linear(10, 1)
    groups = [{"params": [model.weight]}, {"params": [model.bias], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, 0.1)
    Trainer(model, optimizer, nn.MSELoss(), {"training": {"weight_decay": 0.3}})
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]
    plain = torch.optim.Adam(model.parameters(), 0.1)  # which has none anywhere
    Trainer(model, plain, nn.MSELoss(), {"training": {"weight_decay": 0.3}})
    assert plain.param_groups[0]["weight_decay"] == 0.3


def test_the_device_may_be_a_text():
    model = nn.Linear(10, 1)
    instance = Trainer(model, torch.optim.SGD(model.parameters(), 0.1), nn.MSELoss(), device="cpu")
    assert instance.device == torch.device("cpu")
    assert len(instance.train(loader(), 1)["train_loss"]) == 1
    assert Trainer(model, instance.optimizer, None, device="auto").device == get_device()
    with pytest.raises(ConfigurationError, match=r"device: must be auto, cpu, .*, got 'gpu'"):
        Trainer(model, instance.optimizer, None, device="gpu")


def test_a_plateau_schedule_cannot_be_stepped_each_batch():
    model = nn.Linear(10, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    config = {"training": {"scheduler_step_per_batch": True}}
    with pytest.raises(ConfigurationError, match="must be false for ReduceLROnPlateau"):
        Trainer(model, optimizer, nn.MSELoss(), config, scheduler=plateau)
    config["training"]["scheduler_step_per_batch"] = False
    Trainer(model, optimizer, nn.MSELoss(), config, scheduler=plateau).train(loader(), 1)


@pytest.mark.parametrize("evaluated", [False, True])
def test_a_plateau_schedule_of_the_wrong_direction_is_refused_before_training(evaluated):
    model = nn.Linear(10, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max")
    instance = Trainer(model, optimizer, nn.MSELoss(), scheduler=plateau)
    name = "eval_loss" if evaluated else "train_loss"
    with pytest.raises(ConfigurationError, match=f"must have mode='min' to follow {name}"):
        instance.train(loader(), 1, loader() if evaluated else None)
    assert instance.epoch == 0 and not instance.history
    instance.plateau_metric = "learning_rate"  # of no known direction
    assert len(instance.train(loader(), 1)["train_loss"]) == 1


class WithLogits(NamedTuple):
    """As a Hugging Face model answers."""

    logits: torch.Tensor
    loss: torch.Tensor | None = None


def with_logits(shape=()):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(10, 3)

        def forward(self, x):
            return WithLogits(
                self.linear(x).unflatten(0, (-1, *shape)) if shape else self.linear(x)
            )

    return Model()


SMOOTHED = functools.partial(nn.functional.cross_entropy, label_smoothing=0.1)


@pytest.mark.parametrize("as_dict", [False, True])
@pytest.mark.parametrize("loss_fn", [nn.CrossEntropyLoss(), nn.functional.cross_entropy, SMOOTHED])
def test_cross_entropy_uses_the_logits_of_an_output_that_has_some(loss_fn, as_dict):
    model = with_logits()
    if as_dict:
        model.register_forward_hook(lambda _, inputs, output: output._asdict())
    batches = [{"x": torch.randn(8, 10), "label": torch.randint(0, 3, (8,))}]
    instance = Trainer(model, torch.optim.SGD(model.parameters(), 0.1), loss_fn, device="cpu")
    losses = instance.train(batches, 20)["train_loss"]
    assert losses[-1] < losses[0]


def test_cross_entropy_of_sequences_says_what_to_do():
    model = with_logits((4,))
    batches = [(torch.randn(8, 10), torch.randint(0, 3, (2, 4)))]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    instance = Trainer(model, optimizer, nn.CrossEntropyLoss(), device="cpu")
    with pytest.raises(ConfigurationError, match=r"must take logits \[B, L, C\]"):
        instance.train(batches, 1)


def test_a_batch_without_targets_says_how_to_name_them():
    model = with_logits()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    instance = Trainer(model, optimizer, nn.CrossEntropyLoss(), device="cpu")
    with pytest.raises(ConfigurationError, match="name them labels or label"):
        instance.train([{"x": torch.randn(8, 10)}], 1)
