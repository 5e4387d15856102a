"""The worked examples, run as their README says."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from raytune_ocr.tune import load_results

EXAMPLES = Path(__file__).parents[1] / "examples"


TASKS = {f"tasks/{path.name}" for path in (EXAMPLES / "tasks").glob("*.py")}
SCRIPTS = {"read_results.py", "shapes/shapes.py"} | TASKS
"""What the tests below run, and those of `test_example_tasks.py`, `test_lightning.py` and so on."""


def test_every_example_is_run_here():
    found = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.py")}
    assert found == SCRIPTS


def run(command, folder):
    words = [sys.executable if word == "python" else word for word in command.split()]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_notebook_shows_a_live_table_and_the_results(tmp_path, monkeypatch):
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent), prepend=os.pathsep)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    outputs = [cell.get("outputs", []) for cell in notebook.cells if cell.cell_type == "code"]
    tables = [
        "".join(o["data"].get("text/html", "") for o in out if "data" in o) for out in outputs
    ]
    live, tuner, results = (html for html in tables if html)
    for html in (live, tuner):
        assert html.count("<tr>") == 11 and "<th>learning_rate</th>" in html
        assert "completed (max_epochs)" in html and "completed (scheduler)" in html
    assert "best so far: mlp_" in live
    best = load_results(tmp_path / "digits.json").iloc[0]
    assert best["best_value"] > 0.9 and best["experiment_name"] in results
    assert any("image/png" in o["data"] for o in outputs[-1])


@pytest.mark.slow
def test_a_model_of_ones_own_is_trained_and_tuned_with_no_change_to_the_package(tmp_path):
    folder = shutil.copytree(EXAMPLES / "shapes", tmp_path / "shapes")
    block = re.search(r"```bash\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[1]
    draw, train, tune = block.strip().splitlines()
    run(draw + " 60", folder)
    output = run(train.replace("--epochs 10", "--epochs 3"), folder)
    assert "runs/exp1: shape_net on image_folder" in output
    # One at a time: what ASHA stops depends on the order in which trials arrive.
    output = run(tune + " --results-file results.json --max-concurrent 1", folder)
    assert "Ranking" in output
    document = json.loads((folder / "results.json").read_text())
    best = document["best_result"]
    assert best["hyperparameters"]["model_name"] == "shape_net"
    assert best["best_val_accuracy"] > 0.7
    assert "best_val_char_accuracy" not in best  # that is a figure of readers
    assert Path(best["checkpoint"]).is_file()
    table = load_results(folder / "results.json")
    assert list(table["best_val_accuracy"]) == sorted(table["best_val_accuracy"], reverse=True)
    assert "scheduler" in set(table["stop_reason"])
    assert table.iloc[0]["experiment_name"] != "careful"


def test_the_example_of_reading_results_runs(tmp_path):
    from raytune_ocr.config.training_config import TrainingConfig
    from raytune_ocr.results.document import results_document, write_json
    from raytune_ocr.results.record import TrialRecord
    from raytune_ocr.results.tables import write_tables

    record = TrialRecord(
        TrainingConfig(output_dir=str(tmp_path)), status="completed", stop_reason="max_epochs"
    )
    for epoch in (1, 2):
        record.add(
            {
                "epoch": epoch,
                "train_loss": 0.5,
                "val_char_accuracy": 0.6 + epoch / 5,
                "val_seq_accuracy": 0.7,
                "seconds": 1.0,
            }
        )
    write_json(tmp_path / "results.json", results_document([record], {}, "20260101_000000"))
    write_tables(tmp_path, [record], {})
    found = run(f"python {EXAMPLES / 'read_results.py'} {tmp_path} results.json", tmp_path)
    assert "winner: hyperparameter_experiment at 1.0000" in found
    assert re.search(r"trials \(1, \d+\)", found) and re.search(r"curves \(2, \d+\)", found)
    assert re.search(r"best_score +1\.0 +1\.0", found)  # two runs side by side
    assert re.search(r"hyperparameter_experiment +2", found)


def test_the_example_of_reading_results_reads_those_of_classifiers(tmp_path):
    from raytune_ocr.config.training_config import TrainingConfig
    from raytune_ocr.results.document import results_document, write_json
    from raytune_ocr.results.record import TrialRecord
    from raytune_ocr.results.tables import write_tables

    config = TrainingConfig(
        output_dir=str(tmp_path),
        dataset_name="image_folder",
        early_stopping_monitor="val_accuracy",
    )
    record = TrialRecord(config, status="completed", stop_reason="max_epochs")
    for epoch in (1, 2):
        row = {"epoch": epoch, "train_loss": 0.5, "val_accuracy": 0.6 + epoch / 5}
        record.add({**row, "seconds": 1.0})
    write_json(tmp_path / "results.json", results_document([record], {}, "20260101_000000"))
    write_tables(tmp_path, [record], {})
    found = run(f"python {EXAMPLES / 'read_results.py'} {tmp_path}", tmp_path)
    assert "winner: hyperparameter_experiment at 1.0000" in found
    assert re.search(r"hyperparameter_experiment +2", found)
