"""Population-based training: who is replaced, by whom, and that the copies are what they say."""

import json
import math
import random

import pandas as pd
import pytest

from raytune_ocr.config.changes import CHANGEABLE
from raytune_ocr.results.decision import CONTINUE, EXPLOIT, Decision
from raytune_ocr.tune.__main__ import main
from raytune_ocr.tune.schedulers.population_based import (
    PopulationBased,
    clone_name,
    perturbed,
    root_name,
)
from tests.fixtures.runs import POPULATION
from tests.fixtures.simulated import carry_out, next_name, plan_of, restored, train

SEARCH = {
    "num_samples": 8,
    "training": {
        "num_epochs": 9,
        "learning_rate": {"loguniform": [1e-5, 1e-2]},
        "batch_size": {"choice": [8, 16]},
    },
    "scheduler": {"min_lr": 0.0},
}
WENT_ON = Decision("pbt", "found_0001", 3, CONTINUE)


def population(seed=0, max_trials=None, decisions=(), **experiments):
    """A population that is compared every three epochs, and its trials."""
    plan = plan_of(experiments or {"found": SEARCH}, seed=seed)
    scheduler = restored(
        PopulationBased,
        decisions,
        grace_period=3,
        max_epochs=9,
        max_trials=max_trials,
        seed=seed,
        domains={e.name: e.domains for e in plan.space.experiments.values()},
        changeable=CHANGEABLE,
    )
    return scheduler, {trial.name: trial for trial in plan.initial()}


def trained(epoch=3, **settings):
    """The later a trial was drawn, the better it is."""
    scheduler, trials = population(**settings)
    for place, trial in enumerate(trials.values()):
        train(trial, epoch, place / 10)
    return scheduler, trials


def clones(decisions):
    return [decision for decision in decisions if decision.decision == EXPLOIT]


def replaced(decisions):
    return [decision.state["replaces"] for decision in clones(decisions)]


def test_nothing_is_decided_before_all_have_come_to_the_milestone():
    scheduler, trials = population()
    active = []
    for _ in trials:
        active.append(next_name(scheduler, trials, active))
    assert active == list(trials)
    assert next_name(scheduler, trials, active) is None  # all are on their way
    for trial in trials.values():
        assert scheduler.next_milestone(trial) == 3
        assert scheduler.decide(trials) == []
        train(trial, 3, 0.5)
    decided = scheduler.decide(trials)  # none is better than another
    assert {decision.trial for decision in decided} == set(trials)
    assert {(decision.epoch, decision.decision) for decision in decided} == {(3, CONTINUE)}


def test_the_worst_quarter_is_replaced_by_copies_of_the_best():
    scheduler, trials = trained()
    decided = scheduler.decide(trials)
    assert replaced(decided) == ["found_0001", "found_0002"]
    for clone in clones(decided):
        parent = trials[clone.state["parent"]]
        assert parent.name in ("found_0007", "found_0008")
        settings = clone.state["settings"]
        assert set(settings) == {"learning_rate"}  # the batch cannot change in training
        assert settings["learning_rate"] != parent.settings["learning_rate"]
    went_on = {decision.trial for decision in decided if decision.decision == CONTINUE}
    assert went_on == set(trials) - set(replaced(decided))
    assert scheduler.decide(dict(reversed(trials.items()))) == decided
    of_seeds = [trained(seed=seed) for seed in (0, 1, 2)]
    assert len({str(one.decide(trials)) for one, trials in of_seeds}) == 3
    for decision in decided:
        scheduler.apply(decision)
    assert (scheduler.milestone, scheduler.decide(trials)) == (6, [])


def test_the_best_of_the_last_interval_counts_and_a_nan_is_worst():
    scheduler, trials = trained(epoch=6, decisions=[WENT_ON])
    best, worst = trials["found_0008"], trials["found_0003"]
    for epoch in (4, 5, 6):
        best.curve[epoch] = 0.0  # it was good once
        worst.curve[epoch] = math.nan
    assert replaced(scheduler.decide(trials)) == ["found_0003", "found_0008"]


def test_trials_that_are_finished_are_neither_replaced_nor_copied():
    scheduler, trials = trained()
    for name in ("found_0001", "found_0008"):
        trials[name].status = "completed"
    (clone,) = clones(scheduler.decide(trials))
    assert (clone.state["replaces"], clone.state["parent"]) == ("found_0002", "found_0007")
    for trial in list(trials.values())[1:]:
        trial.status = "completed"
    assert scheduler.decide(trials) == []


def test_no_more_clones_are_made_than_the_run_may_have_trials():
    scheduler, trials = trained(max_trials=9)
    assert len(clones(scheduler.decide(trials))) == 1
    scheduler, trials = trained(max_trials=8)
    decided = scheduler.decide(trials)
    assert len(decided) == 8 and not clones(decided)


def test_names_tell_the_line_of_descent_and_the_generation():
    assert clone_name("found_0005", 1, {}) == "found_0005_g1"
    assert clone_name("found_0005", 1, {"found_0005_g1"}) == "found_0005_g1_2"
    assert clone_name(root_name("found_0005_g1_2"), 4, {}) == "found_0005_g4"
    assert root_name("found_0005") == "found_0005"


def test_a_trial_that_is_no_clone_keeps_its_whole_name():
    """Though a user's preset may be called as if it was one."""
    scheduler, trials = trained(a={}, b_g1={})
    (clone,) = clones(scheduler.decide(trials))
    assert (clone.state["parent"], clone.trial) == ("b_g1", "b_g1_g1")


def test_a_resumed_population_continues_with_the_next_generation():
    scheduler, trials = trained()
    decided = scheduler.decide(trials)
    kept = [Decision(**json.loads(json.dumps(vars(decision)))) for decision in decided]
    again, _ = population(decisions=kept)
    carry_out(scheduler, decided, trials)
    for clone in clones(decided):
        parent = trials[clone.state["parent"]]
        trials[clone.trial] = type(parent)(clone.trial, parent.recorded, settings=parent.settings)
        trials[clone.state["replaces"]].stop()
    for place, trial in enumerate(trials.values()):
        train(trial, 6, place / 10)
    assert again.milestone == 6
    later = again.decide(trials)
    assert later == scheduler.decide(trials)
    assert clones(later) and all("_g2" in clone.trial for clone in clones(later))


def test_presets_change_learning_rate_and_decay_and_never_below_the_least_rate():
    preset = {"training": {"learning_rate": 1e-3}, "scheduler": {"min_lr": 9e-4}}
    scheduler, trials = trained(a=preset, b={}, c={})
    (clone,) = clones(scheduler.decide(trials))
    assert set(clone.state["settings"]) == {"learning_rate", "weight_decay"}
    now = trials["a"].settings
    values = {perturbed("learning_rate", now, None, random.Random(n)) for n in range(20)}
    assert values == {9e-4, 1.2e-3}


def check_clones(output, epochs):
    """Check a population whose interval is two epochs; returns the name of its last clone."""
    document = json.loads(output.with_suffix(".json").read_text())
    entries = {result["experiment_name"]: result for result in document["all_results"]}
    clones = [result for result in entries.values() if "parent" in result]
    ends = list(range(2, epochs, 2))  # of the intervals
    assert len(clones) == len(ends) and len(entries) == 4 + len(ends)
    stopped = [r for r in entries.values() if r["stop_reason"] == "scheduler"]
    assert sorted(r["total_epochs"] for r in stopped) == ends
    rows = pd.read_csv(output / "epochs.csv", dtype=str).set_index("experiment_name")
    for clone in clones:
        shared = clone["parent_epoch"]
        assert clone["total_epochs"] == epochs
        assert clone["config"]["changes"][-1]["after_epoch"] == shared
        mine, parents = rows.loc[clone["experiment_name"]], rows.loc[clone["parent"]]
        # The times too: it was given these epochs, not trained for them.
        assert mine[:shared].to_dict("list") == parents[:shared].to_dict("list")
    return clones[-1]["experiment_name"]


@pytest.mark.slow
def test_a_clone_of_a_run_that_is_kept_elsewhere_comes_out_as_if_it_was_trained_from_the_start(
    stored_population, capsys
):
    results, clone = f"{stored_population}.json", check_clones(stored_population, epochs=3)
    assert main(["--reproduce", results, "--trial", clone]) == 0
    assert "epoch 3/3: identical" in capsys.readouterr().out


@pytest.mark.slow
def test_a_clone_of_a_run_that_a_target_and_a_budget_cut_short_does_too(
    shared_ray, write_space, data, tmp_path, capsys
):
    output, results = tmp_path / "out", tmp_path / "out.json"
    words = ["--config", str(write_space(POPULATION, epochs=5)), "--data", str(data)]
    words += ["--output-dir", str(output), "--results-file", str(results)]
    assert main([*words, "--target", "val_loss=1e9"]) == 0  # reached at once
    assert "the target val_loss=1e+09 is reached" in capsys.readouterr().err
    cut = json.loads(results.read_text())["all_results"]
    assert {result["stop_reason"] for result in cut} == {"target"}
    assert main([*words, "--resume", "--time-budget", "2s", "--quiet"]) == 0
    assert main([*words, "--resume", "--quiet"]) == 0
    clone = check_clones(output, epochs=5)
    rows = pd.read_csv(output / "epochs.csv").groupby("experiment_name")["epoch"]
    assert all(list(epochs) == list(range(1, len(epochs) + 1)) for _, epochs in rows)
    assert main(["--reproduce", str(results), "--trial", clone]) == 0
    assert "epoch 5/5: identical" in capsys.readouterr().out
