"""Batches of any kind are taken apart into inputs and targets."""

from typing import NamedTuple

import pytest
import torch
from torch import nn

from raytune_ocr.errors import DataLoaderError
from raytune_ocr.training.batches import batch_size, inputs_and_targets, to_device

X, Y = torch.ones(4, 2), torch.zeros(4)


class Plain(nn.Module):
    def forward(self, pixels):
        return pixels


class OwnLoss(nn.Module):
    def forward(self, input_ids, attention_mask=None, labels=None):
        return input_ids


class OwnLossAndMore(nn.Module):
    """As Hugging Face's models are since Transformers 5."""

    def forward(self, input_ids, labels=None, **kwargs):
        return input_ids


class Anything(nn.Module):
    def forward(self, **inputs):
        return inputs


@pytest.mark.parametrize("key", ["labels", "label"])
def test_a_mapping_batch_may_name_its_targets_label_or_labels(key):
    inputs, targets = inputs_and_targets({"pixels": X, key: Y}, Plain())
    assert list(inputs) == ["pixels"] and targets is Y


def test_the_only_input_of_a_mapping_may_have_any_name():
    inputs, targets = inputs_and_targets({"image": X, "label": Y}, Plain())
    assert inputs is X and targets is Y


@pytest.mark.parametrize("model", [OwnLoss(), OwnLossAndMore()])
@pytest.mark.parametrize("key", ["labels", "label"])
def test_a_model_that_computes_its_own_loss_gets_its_labels(key, model):
    inputs, targets = inputs_and_targets({"input_ids": X, key: Y}, model)
    assert inputs["labels"] is Y and targets is Y and set(inputs) == {"input_ids", "labels"}
    batch = {"x": X, key: Y}
    assert inputs_and_targets(batch, Anything()) == (batch, Y)


def test_keys_that_the_model_does_not_take_are_named():
    with pytest.raises(DataLoaderError, match=r"arguments of the model's forward \(pixels\).*mask"):
        inputs_and_targets({"pixels": X, "mask": X, "label": Y}, Plain())


def test_the_last_part_of_a_tuple_is_the_targets():
    assert inputs_and_targets((X, Y), Plain()) == (X, Y)
    assert inputs_and_targets([X, X, Y], Plain()) == ((X, X), Y)


def test_tensors_move_in_any_nesting():
    class Batch(NamedTuple):
        inputs: torch.Tensor
        targets: list

    moved = to_device({"a": Batch(X, [Y, "text"])}, torch.device("meta"))
    assert type(moved["a"]) is Batch
    assert moved["a"].inputs.device.type == moved["a"].targets[0].device.type == "meta"
    assert moved["a"].targets[1] == "text"


@pytest.mark.parametrize(
    ("batch", "size"), [(X, 4), ((X, Y), 4), ({"a": "b", "c": [X]}, 4), ({"a": 1}, 1)]
)
def test_the_size_of_a_batch_is_that_of_its_first_tensor(batch, size):
    assert batch_size(batch) == size
