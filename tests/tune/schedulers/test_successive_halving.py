"""Successive halving: who goes on at a rung, and that waiting there changes nothing."""

import json
import math
import os

import pandas as pd
import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.decision import CONTINUE, STOP, Decision
from raytune_ocr.tune.__main__ import main
from raytune_ocr.tune.cluster.cluster import MOST_CPUS
from raytune_ocr.tune.schedulers.successive_halving import SuccessiveHalving
from tests.fixtures.simulated import by_name, carry_out, next_name, restored, simulated, train

SPACE = """
tuning: {{scheduler: halving, grace_period: 1, reduction_factor: 2}}
experiments:
  one: &reader
    model: {{name: ctc_small}}
    training: {{num_epochs: {epochs}, batch_size: 16, use_tensorboard: false}}
    scheduler: {{type: cosine}}
    early_stopping: {{monitor: val_loss, patience: 0}}
  two:
    <<: *reader
    model: {{name: small}}
  three:
    <<: *reader
    optimizer: {{type: sgd}}
"""


def halving(decisions=(), max_epochs=9):
    return restored(SuccessiveHalving, decisions, reduction_factor=3, max_epochs=max_epochs)


def seven(epoch=0):
    """`t0`..`t6`; where they have trained, the later one is better."""
    trials = by_name(*(simulated(f"t{number}", max_epochs=9) for number in range(7)))
    for place, trial in enumerate(trials.values()):
        train(trial, epoch, place / 10)
    return trials


def names(decisions, action):
    return [decision.trial for decision in decisions if decision.decision == action]


def test_one_in_three_continues_whichever_comes_first():
    scheduler, trials = halving(), seven()
    active = []
    for value in (4, 6, 1, 0, 5, 3, 2):  # as they arrive
        active.append(next_name(scheduler, trials, active))
        assert scheduler.next_milestone(trials[active[-1]]) == 2
        assert scheduler.decide(trials) == []
        train(trials[active[-1]], 2, value / 10)
    assert next_name(scheduler, trials) is None  # all are at the rung
    decided = scheduler.decide(trials)
    assert names(decided, CONTINUE) == ["t1", "t4"]
    assert names(decided, STOP) == ["t0", "t5", "t6", "t2", "t3"]
    assert {(decision.epoch, decision.state["left"]) for decision in decided} == {(2, 2)}
    assert scheduler.decide(dict(reversed(trials.items()))) == decided
    carry_out(scheduler, decided, trials)
    assert next_name(scheduler, trials) == "t1"
    assert next_name(scheduler, trials, ["t1"]) == "t4"
    train(trials["t1"], 6, 0.1)  # its best score of all epochs counts, as ASHA has it
    train(trials["t4"], 6, 0.55)
    decided = scheduler.decide(trials)
    assert (names(decided, CONTINUE), names(decided, STOP)) == (["t1"], ["t4"])
    carry_out(scheduler, decided, trials)
    assert scheduler.next_milestone(trials["t1"]) is None  # to its end
    assert next_name(scheduler, trials) == "t1"
    assert scheduler.decide(trials) == []


def test_a_trial_that_came_to_a_rung_before_a_resume_waits_there_too():
    trials = by_name(*(simulated(f"t{number}", max_epochs=9) for number in range(3)))
    train(trials["t0"], 2, 0.1)
    train(trials["t1"], 1, 0.2)
    resumed = halving()
    assert next_name(resumed, trials) == "t1"
    assert next_name(resumed, trials, ["t1"]) == "t2"
    assert next_name(resumed, trials, ["t1", "t2"]) is None


def test_a_nan_is_worst_and_a_trial_that_ended_before_is_not_counted():
    scheduler, trials = halving(), seven(epoch=2)
    trials["t6"].curve = {1: math.nan, 2: math.nan}
    trials["t5"].status = "completed"
    decided = scheduler.decide(trials)
    assert names(decided, CONTINUE) == ["t4", "t3"]  # of six
    assert names(decided, STOP) == ["t2", "t1", "t0", "t6"]
    for trial in trials.values():
        trial.status = "failed"
    assert scheduler.decide(trials) == []


def test_the_last_trial_that_is_left_pauses_no_more():
    trials = by_name(simulated("t0", max_epochs=2), simulated("t1", max_epochs=19))
    scheduler = halving(max_epochs=19)
    assert scheduler.rungs == [2, 6, 18]  # as far as the longest trial
    trials["t0"].status = "completed"  # all of its two epochs
    train(trials["t1"], 2, 0.5)
    decided = scheduler.decide(trials)
    assert decided == [Decision("halving", "t1", 2, CONTINUE, {"left": 1})]
    carry_out(scheduler, decided, trials)
    for one in (scheduler, halving(decided, max_epochs=19)):
        assert one.milestone is None and next_name(one, trials) == "t1"


def test_new_trials_are_refused_once_a_rung_is_decided():
    decided = [Decision("halving", "t1", 2, STOP, {"left": 1})]
    begun, added = by_name(simulated("t0"), simulated("t1")), by_name(simulated("t2"))
    halving().check_resume(begun, added)
    halving(decided).check_resume(begun, {})
    halving(decided).check_resume({}, added)  # another run
    with pytest.raises(ConfigurationError) as caught:
        halving(decided).check_resume(begun, added)
    output = str(caught.value)
    assert "after a rung (here epoch 2)" in output and "got 1 more, the first is t2" in output
    assert "another --output-dir with --scheduler asha" in output


@pytest.mark.slow
def test_the_winner_comes_out_as_if_it_had_waited_for_none(
    shared_ray, write_space, data, tmp_path, capsys
):
    output, results = tmp_path / "out", tmp_path / "out.json"
    words = ["--config", str(write_space(SPACE, epochs=4)), "--data", str(data), "--quiet"]
    assert main([*words, "--output-dir", str(output), "--results-file", str(results)]) == 0
    document = json.loads(results.read_text())
    ends = {r["stop_reason"]: r["total_epochs"] for r in document["all_results"]}
    assert ends == {"scheduler": 1, "max_epochs": 4}
    rows = pd.read_csv(output / "epochs.csv").groupby("experiment_name")
    assert sorted(map(list, dict(list(rows["epoch"])).values())) == [[1], [1], [1, 2, 3, 4]]
    longest = max(document["all_results"], key=lambda result: result["total_epochs"])
    alone = min(MOST_CPUS, os.cpu_count())
    threads = list(rows.get_group(longest["experiment_name"])["threads"])
    assert threads == [max(1, alone // 3), alone, alone, alone]
    assert sorted(path.name for path in output.iterdir() if path.is_dir()) == [
        "one",
        "three",
        "two",
    ]
    capsys.readouterr()
    assert main(["--reproduce", str(results), "--trial", longest["experiment_name"]]) == 0
    assert "epoch 4/4: identical" in capsys.readouterr().out
