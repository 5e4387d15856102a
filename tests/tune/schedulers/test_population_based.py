"""Population-based training: who is replaced, by whom, and that the copies are what they say."""

import json
import math
import random

import pandas as pd
import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.__main__ import main
from raytune_ocr.tune.options import chosen_options
from raytune_ocr.tune.schedulers.population_based import (
    Population,
    changed,
    heir_name,
    heir_of,
    inherit,
)
from raytune_ocr.tune.selection.confirmation import confirming_records
from raytune_ocr.tune.space.domains import Domain
from raytune_ocr.tune.space.search_space import read_space
from tests.fixtures.materials import train_record
from tests.fixtures.runs import POPULATION

SEARCH = {
    "num_samples": 8,
    "training": {
        "num_epochs": 9,
        "learning_rate": {"loguniform": [1e-5, 1e-2]},
        "batch_size": {"choice": [8, 16]},
    },
    "scheduler": {"min_lr": 0.0},
}


def population(seed=0, max_trials=None, decisions=(), **experiments):
    content = {"experiments": experiments or {"found": SEARCH}}
    space = read_space(content, "space.yaml", {"seed": seed})
    return Population(space, None, max_trials, decisions, interval=3)


def begun(plan):
    return {record.name: record for record in plan.first()}


def trained(plan, epoch=3):
    records = begun(plan)
    for place, record in enumerate(records.values()):
        train_record(record, epoch, place / 10)
    return records


def test_nothing_is_decided_before_all_have_come_to_the_front():
    plan = population()
    records = begun(plan)
    asked = [plan.next(records) for _ in range(8)]
    assert [record.name for record in asked] == list(records)
    assert plan.next(records) is None  # all are on their way
    for record in asked:
        assert plan.until(record) == 3
        assert plan.decide(records) is None
        train_record(record, 3, 0.5)
    assert plan.decide(records) == {"epoch": 3, "heirs": []}  # nobody is better than another


def test_the_worst_quarter_is_replaced_by_copies_of_the_best():
    plan = population()
    records = trained(plan)
    decided = plan.decide(records)
    assert [heir["instead_of"] for heir in decided["heirs"]] == ["found_0001", "found_0002"]
    for heir in decided["heirs"]:
        parent = records[heir["parent"]]
        assert parent.name in ("found_0007", "found_0008")
        assert set(heir["settings"]) == {"learning_rate"}  # the batch cannot change in training
        assert heir["settings"]["learning_rate"] != parent.config.learning_rate
    assert plan.decide(dict(reversed(records.items()))) == decided
    others = {str(p.decide(trained(p))) for p in (population(), population(1), population(2))}
    assert len(others) == 3  # another seed, another decision
    plan.take(decided)
    assert (plan.front, plan.decide(records)) == (6, None)


def test_the_best_of_the_last_interval_counts_and_a_nan_is_worst():
    plan = population(decisions=[{"epoch": 3, "heirs": []}])
    records = trained(plan, epoch=6)
    best, worst = records["found_0008"], records["found_0003"]
    for row in best.epochs[3:]:
        row["val_char_accuracy"] = 0.0  # it was good once
    for row in worst.epochs[3:]:
        row["val_char_accuracy"] = math.nan
    decided = plan.decide(records)
    assert [heir["instead_of"] for heir in decided["heirs"]] == ["found_0003", "found_0008"]


def test_trials_that_are_over_are_neither_replaced_nor_copied():
    plan = population()
    records = trained(plan)
    for name in ("found_0001", "found_0008"):
        records[name].status = "completed"
    (heir,) = plan.decide(records)["heirs"]
    assert (heir["instead_of"], heir["parent"]) == ("found_0002", "found_0007")
    for record in list(records.values())[1:]:
        record.status = "completed"
    assert plan.decide(records) is None


def test_no_more_are_begotten_than_the_run_may_have():
    plan = population(max_trials=9)
    assert len(plan.decide(trained(plan))["heirs"]) == 1
    plan = population(max_trials=8)
    assert plan.decide(trained(plan)) == {"epoch": 3, "heirs": []}


def test_an_heir_is_its_parent_with_one_more_change_and_its_epochs():
    plan = population()
    parent = trained(plan, epoch=4)["found_0005"]
    heir = {"name": "found_0005_g1", "settings": {"learning_rate": 0.002}}
    child = heir_of(parent, heir, 3)
    inherit(child, parent)
    assert child.config.changes == [{"after_epoch": 3, "learning_rate": 0.002}]
    assert child.config.learning_rate == parent.config.learning_rate
    assert child.config.seed == parent.config.seed
    assert (
        [row["epoch"] for row in child.epochs]
        == [1, 2, 3]
        == [row["epoch"] for row in child.unsaved]
    )
    assert {row["experiment_name"] for row in child.epochs} == {child.name}
    grandchild = heir_of(child, {**heir, "name": "found_0005_g2"}, 6)
    assert [change["after_epoch"] for change in grandchild.config.changes] == [3, 6]
    result = child.to_result({})
    assert (result["parent"], result["parent_epoch"]) == ("found_0005", 3)
    child.status = "completed"
    (confirming,) = confirming_records([child], 1, 1).values()
    assert confirming.config.changes == child.config.changes


def test_names_tell_the_line_of_descent_and_the_generation():
    parent = begun(population())["found_0005"]
    assert heir_name(parent, 1, {}) == "found_0005_g1"
    assert heir_name(parent, 1, {"found_0005_g1"}) == "found_0005_g1_2"
    child = heir_of(parent, {"name": "found_0005_g1_2", "settings": {"learning_rate": 1e-3}}, 3)
    assert heir_name(child, 4, {}) == "found_0005_g4"


def test_a_resumed_population_has_its_heirs_again():
    plan = population()
    records = trained(plan)
    decided = json.loads(json.dumps(plan.decide(records)))
    again = population(decisions=[decided])
    heirs = again.restored({})
    assert [record.name for record in heirs] == [heir["name"] for heir in decided["heirs"]]
    assert again.front == 6
    for record, heir in zip(heirs, decided["heirs"], strict=True):
        assert record.config == heir_of(records[heir["parent"]], heir, 3).config


@pytest.mark.parametrize(
    ("domain", "value", "lower", "higher"),
    [
        (Domain("loguniform", (1e-4, 1e-2)), 9e-3, 7.2e-3, 1e-2),
        (Domain("uniform", (0, 0.1)), 0.05, 0.04, 0.06),
        (Domain("quniform", (0.1, 0.5, 0.2)), 0.3, 0.1, 0.5),
        (Domain("quniform", (0.1, 0.5, 0.2)), 0.5, 0.3, 0.5),
        (Domain("choice", (5, 1, 0.5)), 1, 0.5, 5),
        (Domain("choice", (5, 1, 0.5)), 0.5, 0.5, 1),
    ],
)
def test_a_changed_setting_stays_in_its_domain(domain, value, lower, higher):
    assert domain.scaled(value, 0.8) == pytest.approx(lower)
    assert domain.scaled(value, 1.2) == pytest.approx(higher)


def test_presets_change_learning_rate_and_decay_and_never_below_the_least_rate():
    preset = {"training": {"learning_rate": 1e-3}, "scheduler": {"min_lr": 9e-4}}
    plan = population(a=preset, b={}, c={})
    heirs = plan.decide(trained(plan))["heirs"]
    assert [set(heir["settings"]) for heir in heirs] == [{"learning_rate", "weight_decay"}]
    config = begun(plan)["a"].config
    values = {changed("learning_rate", config, None, random.Random(n)) for n in range(20)}
    assert values == {9e-4, 1.2e-3}


def test_what_does_not_go_with_a_population_is_refused():
    with pytest.raises(ConfigurationError, match="must go with --search random"):
        chosen_options({"scheduler": "pbt", "search": "optuna"})
    with pytest.raises(ConfigurationError, match="begun with asha and must go on with it"):
        chosen_options({"scheduler": "pbt"}, {}, {"scheduler": "asha"})
    with pytest.raises(ConfigurationError, match="begun with pbt and must go on with it"):
        chosen_options({"scheduler": "asha"}, {}, {"scheduler": "pbt"})
    assert chosen_options({}, {"scheduler": "asha"}, {"scheduler": "pbt"}).scheduler == "pbt"


def check_heirs(output, epochs):
    """What came of a population whose interval is two epochs; the name of the last heir."""
    document = json.loads(output.with_suffix(".json").read_text())
    entries = {result["experiment_name"]: result for result in document["all_results"]}
    heirs = [result for result in entries.values() if "parent" in result]
    ends = list(range(2, epochs, 2))  # of the intervals
    assert len(heirs) == len(ends) and len(entries) == 4 + len(ends)
    stopped = [r for r in entries.values() if r["stop_reason"] == "scheduler"]
    assert sorted(r["total_epochs"] for r in stopped) == ends
    rows = pd.read_csv(output / "epochs.csv", dtype=str).set_index("experiment_name")
    for heir in heirs:
        shared = heir["parent_epoch"]
        assert heir["total_epochs"] == epochs
        assert heir["config"]["changes"][-1]["after_epoch"] == shared
        mine, parents = rows.loc[heir["experiment_name"]], rows.loc[heir["parent"]]
        # The times too: it was given these epochs, not trained for them.
        assert mine[:shared].to_dict("list") == parents[:shared].to_dict("list")
    return heirs[-1]["experiment_name"]


@pytest.mark.slow
def test_an_heir_comes_out_as_if_it_was_trained_from_the_start(
    shared_ray, write_space, data, tmp_path, capsys
):
    output, results = tmp_path / "out", str(tmp_path / "out.json")
    words = ["--config", str(write_space(POPULATION, epochs=5)), "--data", str(data), "--quiet"]
    assert main([*words, "--output-dir", str(output), "--results-file", results]) == 0
    assert main(["--reproduce", results, "--trial", check_heirs(output, epochs=5)]) == 0
    assert "epoch 5/5: identical" in capsys.readouterr().out


@pytest.mark.slow
def test_an_heir_of_a_run_that_is_kept_elsewhere_does_too(stored_population, capsys):
    results, heir = f"{stored_population}.json", check_heirs(stored_population, epochs=3)
    assert main(["--reproduce", results, "--trial", heir]) == 0
    assert "epoch 3/3: identical" in capsys.readouterr().out


@pytest.mark.slow
def test_a_population_that_a_target_and_a_budget_cut_short_goes_on_to_its_end(
    shared_ray, write_space, data, tmp_path, capsys
):
    output, results = tmp_path / "out", tmp_path / "out.json"
    words = ["--config", str(write_space(POPULATION, epochs=3)), "--data", str(data)]
    words += ["--output-dir", str(output), "--results-file", str(results)]
    assert main([*words, "--target", "character_accuracy=0"]) == 0  # reached at once
    assert "the target character_accuracy=0 is reached" in capsys.readouterr().err
    cut = json.loads(results.read_text())["all_results"]
    assert {result["stop_reason"] for result in cut} == {"target"}
    assert main([*words, "--resume", "--time-budget", "2s", "--quiet"]) == 0
    assert main([*words, "--resume", "--quiet"]) == 0
    check_heirs(output, epochs=3)
    rows = pd.read_csv(output / "epochs.csv").groupby("experiment_name")["epoch"]
    assert all(list(epochs) == list(range(1, len(epochs) + 1)) for _, epochs in rows)
