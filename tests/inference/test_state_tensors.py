import pytest
import torch

from raytune_ocr.errors import CheckpointError
from raytune_ocr.inference.state_tensors import join_state, split_state


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def test_a_state_comes_back_as_it_was():
    state = {
        "model": {"layer.weight": torch.ones(2, 3), "layer": {"weight": torch.zeros(1)}},
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}, "0": torch.ones(1)}},
        "scores": [0.5, (1, None), b"raw", True, "text"],
    }
    tensors, text = split_state(state)
    assert len(tensors) == 4 and tensors["model.layer.weight"].shape == (2, 3)
    assert same(join_state(tensors, text, "x"), state)
    assert same(join_state(*split_state(torch.ones(2)), "x"), torch.ones(2))


@pytest.mark.parametrize("text", ["", "[]", '["tensor", "none"]', '["other", 1]', "[" * 100_000])
def test_a_text_that_is_none_is_reported_with_its_file(text):
    with pytest.raises(CheckpointError, match=r"model\.safetensors: its metadata"):
        join_state({}, text, "model.safetensors")
