"""The worked examples of CONTRIBUTING.md are installed as packages and run."""

import json
import sys
from types import SimpleNamespace

import pytest

from raytune_ocr.tasks.registry import task_named, task_of
from raytune_ocr.tune.registries import SCHEDULERS, SEARCHERS
from raytune_ocr.tune.space.search_space import read_space
from tests.fixtures.pages import REPOSITORY, blocks, marked_block
from tests.tune.execution.test_simulator import TRIALS, decided, outcome, simulate

PAGE = REPOSITORY / "CONTRIBUTING.md"
PACKAGE = "my_package"
MODULES = {"margin": "scheduler", "near_best": "searcher", "sine": "task"}
LONGEST_SCHEDULER = 20


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The examples with the entry points that the page shows, as pip leaves them."""
    (tmp_path / PACKAGE).mkdir()
    for module, mark in MODULES.items():
        code = marked_block(PAGE, f"test: {mark}")
        (tmp_path / PACKAGE / f"{module}.py").write_text(code, encoding="utf-8")
    info = tmp_path / f"{PACKAGE}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points(), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    task_named.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


def entry_points():
    """The page's `pyproject.toml` tables in the form that pip writes."""
    (table,) = blocks(PAGE, "toml")
    return table.replace('[project.entry-points."', "[").replace('"]', "]").replace('"', "")


def test_the_scheduler_is_short():
    lines = marked_block(PAGE, "test: scheduler").strip().splitlines()
    assert len([line for line in lines if line.strip()]) <= LONGEST_SCHEDULER


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(("scheduler", "search"), [("margin", "random"), ("margin", "near_best")])
def test_the_examples_run_a_search_to_its_end(installed, scheduler, search, workers):
    assert scheduler in SCHEDULERS.names()
    assert search in SEARCHERS.names()
    simulator = simulate(scheduler, search, workers)
    trials = simulator.study.trials.values()
    assert len(trials) == TRIALS
    assert {trial.status for trial in trials} <= {"completed", "stopped", "failed"}
    assert "stopped" in {trial.status for trial in trials}


def test_the_task_trains_by_its_name_in_the_yaml(installed, tmp_path):
    content = {
        "task": "sine",
        "epochs": 5,
        "training": {"learning_rate": 0.002, "batch_size": 32},
        "early_stopping": {"patience": 0},
    }
    space = read_space(content, "sine.yaml", output_dir=str(tmp_path))
    (config,) = space.configs.values()
    task, losses = task_of(config), []
    data = task.prepared(config, task.load(config, False))
    task.train(config, data, lambda row, folder: losses.append(row.get("val_loss")))
    assert len(losses) == 5 and losses == sorted(losses, reverse=True)


def test_the_examples_decide_alike_after_a_kill_at_any_line(installed):
    calm = simulate("margin", "near_best")
    for cut in range(len(calm.journal) + 1):
        rough = simulate("margin", "near_best", journal=calm.journal[:cut])
        assert outcome(rough) == outcome(calm), f"killed after line {cut}"
        assert decided(rough) == decided(calm), f"killed after line {cut}"


def test_the_tracker_writes_the_epochs_of_trials(tmp_path):
    found = {}
    exec(marked_block(PAGE, "test: tracker"), found)
    tracker = found["Lines"](tmp_path / "lines.jsonl")
    trial = SimpleNamespace(config={"experiment_name": "reader_0001", "config": {}})
    tracker.log_trial_start(trial)
    tracker.log_trial_result(1, trial, {"epoch": 4})
    line = json.loads((tmp_path / "lines.jsonl").read_text(encoding="utf-8"))
    assert line == {"trial": "reader_0001", "epoch": 4}
