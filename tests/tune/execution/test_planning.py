from dataclasses import replace

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.decision import EXPLOIT, Decision
from raytune_ocr.results.document import result_of
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.execution.planning import (
    clone_of,
    inherit,
    record_of,
    restore_clones,
    scheduler_of,
    settle_scheduler,
)
from raytune_ocr.tune.options import TuneOptions
from raytune_ocr.tune.search.plan import Plan
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.selection.confirmation import confirming_records
from raytune_ocr.tune.space.search_space import read_space
from tests.fixtures.materials import train_record

CLONE = Decision(
    *("pbt", "a_g1", 2, EXPLOIT),
    {"parent": "a", "replaces": "b", "settings": {"learning_rate": 0.002}},
)


def record(name):
    return TrialRecord(TrainingConfig(experiment_name=name, num_epochs=4))


def test_a_clone_is_its_parent_with_one_more_change_and_its_epochs():
    parent = record("a")
    train_record(parent, 4, 0.5)
    parent.used = {"batch_size_used": 8}
    child = clone_of(parent, CLONE)
    inherit(child, parent)
    assert child.config.changes == [{"after_epoch": 2, "learning_rate": 0.002}]
    assert child.config.learning_rate == parent.config.learning_rate
    assert (child.config.seed, child.used) == (parent.config.seed, parent.used)
    assert [row["epoch"] for row in child.epochs] == [1, 2]
    assert child.unsaved == child.epochs
    assert {row["experiment_name"] for row in child.epochs} == {child.name}
    grandchild = clone_of(child, replace(CLONE, trial="a_g2", epoch=3))
    assert [change["after_epoch"] for change in grandchild.config.changes] == [2, 3]
    result = result_of(child)
    assert (result["parent"], result["parent_epoch"]) == ("a", 2)
    child.complete("max_epochs")
    (confirming,) = confirming_records([child], 1, 1).values()
    assert confirming.config.changes == child.config.changes


@pytest.mark.parametrize(
    ("search", "max_trials", "settled"),
    [("random", None, "freeze-thaw"), ("random", 5, "halving"), ("optuna", None, "asha")],
)
def test_auto_is_settled_by_the_trials_of_the_plan(search, max_trials, settled, caplog):
    found = {
        "num_samples": 20,
        "training": {"num_epochs": 9, "learning_rate": {"loguniform": [0.001, 0.1]}},
    }
    plan_of = read_space({"experiments": {"found": found}}, "space.yaml")
    options = TuneOptions(scheduler="auto", search=search, max_trials=max_trials)
    plan = Plan(plan_of, search, KnownPoints(), max_trials, record_of)
    with caplog.at_level("INFO"):
        found = settle_scheduler(plan, options)
    assert found.scheduler == settled
    assert caplog.text.count(f"scheduler auto: {settled} with a grace period of") == 1
    named = replace(options, scheduler="median")
    assert settle_scheduler(plan, named) is named


def test_the_scheduler_knows_the_longest_trial_the_domains_and_the_limits():
    content = {
        "experiments": {
            "short": {"training": {"num_epochs": 3}},
            "found": {
                "num_samples": 2,
                "training": {"num_epochs": 9, "batch_size": {"choice": [8, 16]}},
            },
        }
    }
    options = TuneOptions(scheduler="halving", grace_period=2, max_trials=5)
    plan = Plan(read_space(content, "s.yaml"), "random", KnownPoints(), 5, record_of)
    scheduler = scheduler_of(plan, options)
    assert scheduler.name == "halving"
    assert (scheduler.setup.max_epochs, scheduler.setup.max_trials) == (9, 5)
    assert list(scheduler.setup.domains["found"]) == ["batch_size"]


def test_clones_of_the_journal_come_back_under_their_parents():
    trials = {"a": record("a")}
    second = replace(CLONE, trial="a_g2", epoch=3, state={**CLONE.state, "parent": "a_g1"})
    foreign = replace(CLONE, trial="x", state={**CLONE.state, "parent": "nobody"})
    restore_clones(trials, [CLONE, second, foreign], "run_state.jsonl")
    assert list(trials) == ["a", "a_g1", "a_g2"]
    assert [change["after_epoch"] for change in trials["a_g2"].config.changes] == [2, 3]
    wrong = replace(CLONE, state={**CLONE.state, "settings": {"learning_rate": -1}})
    with pytest.raises(ConfigurationError, match=r"^run_state.jsonl: a_g1: .*learning_rate"):
        restore_clones(trials, [wrong], "run_state.jsonl")
