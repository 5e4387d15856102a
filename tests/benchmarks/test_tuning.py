import json

import pytest

from benchmarks import tuning
from benchmarks.support import report


def row(tuner, seconds, best):
    return {"tuner": tuner, "seconds": seconds, "best val_char_accuracy": best}


def test_times_are_compared_round_by_round_and_accuracies_by_the_best():
    rows = [
        row("this project", 10.0, 0.96),
        row("one after another", 40.0, 0.97),
        row("this project", 20.0, 0.95),
        row("one after another", 60.0, 0.96),
    ]
    (found,) = tuning.ratios(rows)
    assert found["its time over ours"] == 3.5
    assert found["ours over its"] == pytest.approx((0.25 + 1 / 3) / 2)
    assert found["our accuracy over its, points"] == pytest.approx(-1)


def test_the_full_space_has_eight_presets():
    assert len(tuning.presets()) == 8


@pytest.mark.slow
def test_every_epoch_of_every_way_is_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    ways = ["one after another", "this project"]
    names = ["ctc_small_muon", "small_adam"]
    options = ["--epochs", "2", "--samples", "32", "--grace", "2"]
    tuning.main(["--ways", *ways, "--experiments", *names, *options])
    found = json.loads((tmp_path / "tuning.json").read_text(encoding="utf-8"))
    epochs = {entry["tuner"]: entry["epochs"] for entry in found["rows"]}
    assert epochs == {"one after another": 4, "this project": 4, "the winner alone": 2}
    assert {entry["tuner"] for entry in found["ratios"]} == {
        "one after another",
        "the winner alone",
    }
    assert len({entry["best val_char_accuracy"] for entry in found["rows"]}) == 1
