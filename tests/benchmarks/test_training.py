import json

import pytest

from benchmarks import training
from benchmarks.support import contestants, report
from benchmarks.support.limits import Kernel, fastest


def test_every_model_of_the_full_space_has_a_preset():
    assert set(training.presets()) == {"small", "medium", "large", "ctc_small", "ctc_medium"}


def test_operations_of_a_product_and_a_convolution_are_counted():
    assert Kernel((512,), "fp32").flops == 2 * 512**3
    assert Kernel((64, 32, 64), "bf16").flops == 2 * 9 * 64 * 64 * 32 * 32 * 64
    assert fastest([(64,)], "fp32") == Kernel((64,), "fp32")


@pytest.mark.slow
def test_a_race_tells_ratios_and_shares_of_one_model(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    for module in (training, contestants):
        monkeypatch.setattr(module, "STEPS", 4)
    monkeypatch.setattr(training, "WARM", 1)
    monkeypatch.setattr(contestants, "OTHERS", {})  # a process of each, twice with other settings
    given = ["--models", "ctc_small", "--epochs", "2", "--threads", "1", "--precisions", "fp32"]
    training.main(given)
    found = json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))
    (details,) = found["details"]
    assert {"bare", "OCRTrainer", "OCRTrainer + augmentation"} <= set(details["images/s"])
    for name, ratio in details["ratios"].items():
        low, high = ratio.get("95 %", (ratio["wall"], ratio["wall"]))  # none of a mean
        assert 0 < low <= ratio["wall"] <= high, name
    assert {row["by"] for row in found["rows"]} == {"wall", "processor"}
    assert all(0 < row["end to end"] < 1.5 for row in found["rows"])
