"""Ray's memory monitor ends a trial that takes too much; the run goes on."""

import json
import os
import subprocess
import sys

import pandas as pd
import psutil
import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.execution.ray_executor.out_of_memory import KILLED, halve_batch
from tests.fixtures.materials import draw_photos, module_with_a_model

# Takes memory without end, slowly, at a batch of more than eight in its third epoch.
HOG = """
kept = []
while len(images) > 8 and self.batches > 6 and len(kept) < 160:
    kept.append(b"x" * 50_000_000)
    time.sleep(0.02)
"""
SPACE = """
common: &common
  model: {name: hog, imports: [hog_model]}
  data: {name: image_folder, metadata_path: photos}
  early_stopping: {patience: 0}
experiments:
  wide: {<<: *common, training: {num_epochs: 4, batch_size: 16, use_tensorboard: false}}
  narrow: {<<: *common, training: {num_epochs: 6, batch_size: 8, use_tensorboard: false}}
"""
ALLOWANCE = 3 * 2**30  # bytes beyond what is used now: Ray, its workers, and what the hog takes


@pytest.fixture
def short_of_memory(start_cluster, monkeypatch):
    """A cluster of one node, whose monitor ends workers soon."""
    memory = psutil.virtual_memory()
    if memory.available < ALLOWANCE + 2**30:
        pytest.skip(f"needs {ALLOWANCE / 2**30 + 1:g} GiB of memory that is free")
    threshold = (memory.total - memory.available + ALLOWANCE) / memory.total
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{threshold:.3f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    return start_cluster(num_cpus=2)


@pytest.mark.slow
def test_the_memory_monitor_costs_one_trial_half_its_batch_and_the_run_nothing(
    short_of_memory, tmp_path
):
    draw_photos(tmp_path)
    (tmp_path / "hog_model.py").write_text(module_with_a_model("hog", HOG))
    (tmp_path / "space.yaml").write_text(SPACE)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "raytune_ocr.tune", "--config", "space.yaml"),
            *("--output-dir", "out", "--results-file", "r.json", "--scheduler", "none"),
            *("--address", short_of_memory.address),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "wide: killed by Ray's memory monitor; continues with batch size 8, accumulation 2"
        in done.stderr
    )
    document = json.loads((tmp_path / "r.json").read_text())
    results = {result["experiment_name"]: result for result in document["all_results"]}
    assert {result["status"] for result in results.values()} == {"completed"}
    assert (results["wide"]["batch_size_used"], results["wide"]["accumulation_used"]) == (8, 2)
    assert results["wide"]["hyperparameters"]["batch_size"] == 16
    assert "batch_size_used" not in results["narrow"]
    epochs = pd.read_csv(tmp_path / "out" / "epochs.csv").groupby("experiment_name")["epoch"]
    assert {name: list(rows) for name, rows in epochs} == {
        "wide": [1, 2, 3, 4],
        "narrow": [1, 2, 3, 4, 5, 6],
    }


def test_actors_are_read_from_the_words_of_the_monitor():
    output = (
        "Selected to kill: (Task: job ID=01000000, pid=31875, actual memory used=0.08GB, x)\n"
        "Selected to kill: (Actor(38873ac8): job ID=01000000, pid=3, actual memory used=1.13GB)\n"
    )
    assert KILLED.findall(output) == [("38873ac8", "1.13")]


def test_a_batch_of_one_that_is_too_much_has_failed():
    record = TrialRecord(TrainingConfig(batch_size=3))
    for expected in ((2, 2), (1, 4)):
        halve_batch(record)
        config = record.config_used
        assert (config.batch_size, config.gradient_accumulation_steps) == expected
    halve_batch(record)
    assert record.status == "failed"
    assert "batch of one" in record.error_message
