"""A run of a user's own function, trained by hand instead of by Ray: its metric decides all."""

import dataclasses
import json
import logging
import re
from pathlib import Path

import pandas as pd
import pytest

from raytune_ocr.analyze import main as analyze
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.analysis import best, compare, pareto
from raytune_ocr.results.decision import CONTINUE
from raytune_ocr.results.tables import load_results
from raytune_ocr.results.targets import Target
from raytune_ocr.tune.execution.circumstances import code_fingerprints
from raytune_ocr.tune.execution.data_loading import load_data
from raytune_ocr.tune.execution.ray_executor.trainable import newest_state, run_trial
from raytune_ocr.tune.execution.run import Run
from raytune_ocr.tune.options import TuneOptions
from raytune_ocr.tune.search.refine import refine
from raytune_ocr.tune.search.warm_start import KnownPoints, read_known
from raytune_ocr.tune.selection.reproduce import reproduce
from raytune_ocr.tune.space.search_space import read_space
from raytune_ocr.tune.storage.mirror import RunCopy, keep_state
from tests.fixtures.browser import page_data

HOME = "tests.fixtures.own_training"
SEARCH = {
    "trainable": f"{HOME}:finetune",
    "metric": {"name": "val_mae", "mode": "min"},
    "epochs": 4,
    "num_samples": 6,
    "parameters": {"samples": 32, "lr": {"loguniform": [1e-3, 1e-1]}},
    "experiments": {"own": {"training": {"use_tensorboard": False}}},
    "targets": {"val_mae": 0.2},
}


class ByHand:
    """Trains the trials of a run one after another, each until it ends or pauses."""

    def __init__(self, folder, content, resume=False, known=None, **options):
        self.space = read_space(content, "space.yaml", output_dir=str(folder / "out"))
        (folder / "out").mkdir(exist_ok=True)
        copy = RunCopy(None, folder / "out")
        self.run = Run(folder / "out", TuneOptions(**options), copy, "t", folder / "results.json")
        self.run.start(self.space, known or KnownPoints(), resume)
        if not resume:
            self.run.forget_old()
        possible = self.run.possible(self.run.searching())
        self.data, self.invalid = load_data(possible, False)
        self.run.note_code(code_fingerprints(possible))
        self.run.save_state()

    def train(self, killed_after=None):
        """Train everything; the driver is killed after so many reports."""
        self.left = killed_after
        while (record := self.run.next_trial()) is not None and self.left != 0:
            self._train_one(record)
        if self.left != 0:
            self.run.end()
        return self

    def _train_one(self, record):
        config = record.config_used
        folder = Path(config.output_dir) / record.name

        def report(row, state):
            if self.left == 0:
                raise SystemExit  # as Ray does
            if state:
                keep_state(folder, state, row["epoch"])
            record.status = "running"
            action = self.run.report(record, row)
            self.left = None if self.left is None else self.left - 1
            if action != CONTINUE:
                raise SystemExit  # as Ray does

        try:
            data = self.data[record.task.data_key(config)]
            run_trial(config, data, report, resume_from=newest_state(folder))
        except SystemExit:
            pass

    @property
    def document(self):
        return json.loads((self.run.output_dir / "results.json").read_text("utf-8"))


def scores(run):
    return {r["experiment_name"]: r["best_value"] for r in run.document["all_results"]}


@pytest.mark.parametrize("scheduler", ["asha", "halving", "none"])
def test_a_function_is_ranked_by_its_own_metric_where_lower_is_better(tmp_path, scheduler):
    run = ByHand(tmp_path, SEARCH, scheduler=scheduler, grace_period=1, reduction_factor=2).train()
    winner, found = run.document["best_result"], scores(run)
    assert len(found) == 6 and winner["best_value"] == min(found.values())
    assert (winner["best_metric"], winner["best_mode"], winner["rank"]) == ("val_mae", "min", 1)
    assert set(winner["hyperparameters"]) == {"parameters.samples", "parameters.lr"}
    assert winner["targets"]["val_mae"]["met"] == (winner["best_value"] <= 0.2)
    assert winner["checkpoint"].endswith("best_model.pt")
    epochs = pd.read_csv(tmp_path / "out" / "epochs.csv")
    assert {"val_mae", "val_loss", "seconds"} <= set(epochs) and epochs["val_mae"].notna().all()


def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path):
    for name in ("calm", "rough"):
        (tmp_path / name).mkdir()
    options = {"grace_period": 1, "reduction_factor": 2}
    calm = ByHand(tmp_path / "calm", SEARCH, **options).train()
    ByHand(tmp_path / "rough", SEARCH, **options).train(killed_after=7)
    rough = ByHand(tmp_path / "rough", SEARCH, resume=True, **options).train()
    assert scores(rough) == scores(calm)


def test_tables_report_and_page_know_the_direction(tmp_path, capsys):
    run = ByHand(tmp_path, SEARCH, scheduler="none").train()
    table = load_results(tmp_path / "out")
    assert table["best_value"].is_monotonic_increasing
    assert best(tmp_path / "out")["best_value"] == min(scores(run).values())
    (row,) = compare(tmp_path / "out").to_dict("records")
    assert (row["score"], row["best_score"]) == ("val_mae", table["best_value"].min())
    front = pareto(table)
    assert front.loc[front["on_front"], "score"].min() == table["best_value"].min()
    assert analyze([str(tmp_path / "out"), "--output", str(tmp_path / "page")]) == 0
    data = page_data(tmp_path / "page" / "report.html")
    (shown,) = data["runs"]
    assert (shown["metric"], shown["mode"]) == ("val_mae", "min")
    assert "settings.parameters.lr" in [column["id"] for column in shown["columns"]]
    assert "Only readers of digits" in data["reader"][0]["error"]


def test_the_best_is_known_refined_and_reproduced(tmp_path):
    run = ByHand(tmp_path, SEARCH, scheduler="none").train()
    lowest = min(run.document["all_results"], key=lambda r: r["best_value"])
    near = refine(run.space, [tmp_path / "out"])
    domain = near.experiments["own"].domains["parameters.lr"]
    assert domain.holds(lowest["sampled"]["parameters.lr"]) and domain.high / domain.low < 20
    known = read_known([tmp_path / "out"])
    assert all(known.skip(config) for config in run.space.configs.values())
    said = []
    assert reproduce(tmp_path / "out", imports=[HOME], say=said.append), said


def test_the_target_ends_the_run_in_the_right_direction(tmp_path):
    run = ByHand(tmp_path, SEARCH, target=Target("val_mae", 1e9)).train(killed_after=1)
    assert run.run.budget.reason == "target"
    tight = ByHand(tmp_path, SEARCH, target=Target("val_mae", 1e-9)).train(killed_after=9)
    assert tight.run.budget.reason == ""


def faulty(function, **keys):
    own = {"trainable": f"{HOME}:{function}", "parameters": {}, "targets": {}, "num_samples": 1}
    return {**SEARCH, **own, **keys}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("silent", "silent: returned without a report"),
        ("other_metric", r"unknown metric 'val_mae' \(known: val_mea\); did you mean 'val_mea'"),
        ("in_words", "val_mae must be one number, got 'good' .str."),
        ("unsavable", "got Linear"),
    ],
)
def test_what_a_function_does_wrong_fails_its_trial_with_a_message(tmp_path, function, message):
    run = ByHand(tmp_path, faulty(function)).train()
    (result,) = run.document["all_results"]
    assert result["status"] == "failed" and re.search(message, result["error_message"])


def test_a_function_that_saves_nothing_starts_again_after_each_pause(tmp_path):
    content = faulty("forgetful", parameters={"lr": {"uniform": [0, 1]}}, num_samples=4)
    options = {"scheduler": "halving", "grace_period": 2, "reduction_factor": 2}
    run = ByHand(tmp_path, content, **options).train()
    found = run.document["all_results"]
    assert max(result["total_epochs"] for result in found) == 4
    assert run.document["best_result"]["best_value"] == min(scores(run).values())


def test_a_population_changes_the_parameters_that_may_change(tmp_path):
    content = {**SEARCH, "changeable": ["lr"], "epochs": 6}
    run = ByHand(tmp_path, content, scheduler="pbt", grace_period=2).train()
    clones = [record for record in run.run.records.values() if record.parent]
    assert clones
    for clone in clones:
        (change,) = [c for c in clone.config.changes if c["after_epoch"] == clone.parent_epoch]
        assert set(change) == {"after_epoch", "parameters.lr"}
        last = clone.config.parameters_after(6)["lr"]
        assert last != clone.config.parameters["lr"]


def test_a_population_asks_which_parameters_may_change(tmp_path):
    with pytest.raises(ConfigurationError, match=r"changeable: must list the parameters"):
        ByHand(tmp_path, SEARCH, scheduler="pbt")


def test_a_model_that_one_value_makes_impossible_fails_that_trial_alone(tmp_path):
    content = {
        **SEARCH,
        "trainable": None,
        "task": f"{HOME}:Regression",
        "parameters": {"width": {"grid": [4, -1]}},
        "num_samples": None,
    }
    run = ByHand(tmp_path, content)
    ((record, output),) = run.invalid
    assert record.config.parameters["width"] == -1 and "in build: nn.Linear" in output


def test_an_edited_function_is_reported_at_a_resume(tmp_path, caplog):
    ByHand(tmp_path, SEARCH).train(killed_after=2)
    run = ByHand(tmp_path, SEARCH, resume=True).run
    with caplog.at_level(logging.WARNING):
        run.note_code({f"{HOME}:finetune": "another"})
    assert "the source of tests.fixtures.own_training:finetune has changed since" in caplog.text


def test_confirming_seeds_train_the_same_parameters(tmp_path):
    run = ByHand(tmp_path, SEARCH, scheduler="none", confirm=1, confirm_seeds=1).train(None)
    (again,) = run.run.unconfirmed_records()
    winner = run.run.records[again.confirms]
    assert again.config.parameters == winner.config.parameters
    assert dataclasses.replace(again.config, seed=0).trainable == winner.config.trainable
