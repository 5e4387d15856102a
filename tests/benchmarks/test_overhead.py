import json

import pytest

from benchmarks import overhead
from benchmarks.support import report


def row(trials, seconds):
    return {
        "who": "raytune_ocr",
        "trials": trials,
        "fit_seconds": seconds,
        "driver_mb": 100.0 + trials,
        "load_seconds": 0.5,
        "journal_mb": 0.0,
        "results_mb": 0.0,
    }


def test_what_a_trial_more_costs_is_read_off_the_smallest_and_the_largest_run():
    rows = [row(2000, 104.0), row(200, 14.0), {**row(100, 90.0), "who": "plain Ray"}]
    grows = overhead.growth(rows)
    assert grows["fit_seconds a trial"] == pytest.approx(0.05)
    assert grows["driver_mb a trial"] == pytest.approx(1.0)


@pytest.mark.slow
def test_every_contestant_finishes_every_trial_and_is_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    few = ["--trials", "2", "--plain", "2", "--fresh", "1", "--epochs", "2"]
    monkeypatch.setattr("sys.argv", ["overhead", *few])
    # As a run of ours in this process leaves it.
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    overhead.main()
    found = json.loads((tmp_path / "overhead.json").read_text(encoding="utf-8"))
    assert [(r["who"], r["trials"]) for r in found["rows"]] == [
        ("raytune_ocr", 2),
        ("plain Ray, actors reused", 2),
        ("plain Ray", 1),
    ]
    for measured in found["rows"]:
        assert 0 < measured["trials a second"] == measured["trials"] / measured["fit_seconds"]
        assert measured["driver_mb"] >= measured["driver_mb_before"] > 0
        assert measured["load_seconds"] > 0
