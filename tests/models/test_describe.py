"""Tests of the table of models."""

import pytest
import torch

from raytune_ocr.models import (
    PRESETS,
    ModelRegistry,
    create_model,
    describe_models,
    flops,
    format_models,
)
from raytune_ocr.models.describe import activation_bytes, work


def test_every_preset_is_described() -> None:
    rows = describe_models()
    assert [row["name"] for row in rows] == list(PRESETS)
    for row in rows:
        assert row["parameters"] > 100_000
        assert row["mflops"] > 1
        assert row["activation_mb"] > 1
        assert row["steps"] == (32 if row["kind"] == "ctc" else 9)


def test_the_table_has_a_line_for_each_model() -> None:
    lines = format_models(describe_models(["small", "ctc_small"])).splitlines()
    assert lines[0].startswith("model")
    assert [line.split()[0] for line in lines[1:]] == ["small", "ctc_small"]


def test_describing_leaves_a_model_as_it_was() -> None:
    model = create_model("large").train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    flops(model)
    activation_bytes(model)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_checkpointing_keeps_less_for_the_backward_pass() -> None:
    plain = activation_bytes(create_model("large"))
    frugal = activation_bytes(create_model("large", gradient_checkpointing=True))
    assert frugal < 0.6 * plain


def test_memory_grows_with_the_batch() -> None:
    model = create_model("small")
    assert activation_bytes(model, 16) == pytest.approx(2 * activation_bytes(model, 8), rel=0.1)


def test_models_that_are_not_ours_are_not_built_to_learn_their_work(monkeypatch) -> None:
    monkeypatch.setitem(ModelRegistry._factories, "theirs", pytest.fail)
    assert work("theirs") == 0 < work("ctc") == work("ctc_small") < work("large")
