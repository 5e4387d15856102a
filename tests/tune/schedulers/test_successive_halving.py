"""Successive halving: who goes on at a rung, and that waiting there changes nothing."""

import json
import math
import os

import pandas as pd
import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.models import ModelRegistry
from raytune_ocr.models.describe import work
from raytune_ocr.tune.__main__ import main
from raytune_ocr.tune.cluster.cluster import MOST_CPUS, Cluster
from raytune_ocr.tune.options import chosen_options
from raytune_ocr.tune.schedulers.rungs import rung_epochs
from raytune_ocr.tune.schedulers.successive_halving import SuccessiveHalving
from raytune_ocr.tune.space.search_space import read_space
from tests.fixtures.materials import train_record

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


def halving(epochs=(9, 9, 9, 9, 9, 9, 9), decisions=()):
    experiments = {f"t{n}": {"training": {"num_epochs": e}} for n, e in enumerate(epochs)}
    space = read_space({"experiments": experiments}, "space.yaml")
    return SuccessiveHalving(space, decisions=decisions, grace_period=2, reduction_factor=3)


def begun(plan):
    return {record.name: record for record in plan.first()}


def test_rungs_grow_by_the_reduction_factor():
    assert rung_epochs(3, 2, 100) == [3, 6, 12, 24, 48, 96]


def test_one_in_three_goes_on_whoever_comes_first():
    plan = halving()
    records = begun(plan)
    for value in (4, 6, 1, 0, 5, 3, 2):  # as they arrive
        record = plan.next(records)
        assert plan.until(record) == 2
        assert plan.decide(records) is None
        train_record(record, 2, value / 10)
    assert plan.next(records) is None
    decided = plan.decide(records)
    assert decided == {"epoch": 2, "ends": ["t0", "t5", "t6", "t2", "t3"], "left": 2}
    assert plan.decide(dict(reversed(records.items()))) == decided
    plan.take(decided)
    for name in decided["ends"]:
        records[name].status = "completed"
    assert [plan.next(records).name for _ in range(2)] == ["t1", "t4"]
    train_record(records["t1"], 6, 0.1)  # what it once had counts, as ASHA has it
    train_record(records["t4"], 6, 0.55)
    plan.take(plan.decide(records))
    assert plan.decisions[-1] == {"epoch": 6, "ends": ["t4"], "left": 1}
    records["t4"].status = "completed"
    assert plan.until(records["t1"]) is None  # to its end
    assert plan.next(records) is records["t1"]
    assert plan.decide(records) is None


def test_who_came_to_a_rung_before_a_resume_waits_there_too():
    records = begun(halving(epochs=(9, 9, 9)))
    train_record(records["t0"], 2, 0.1)
    train_record(records["t1"], 1, 0.2)
    resumed = halving(epochs=(9, 9, 9))
    assert [resumed.waits(record) for record in records.values()] == [True, False, False]


def test_the_largest_models_are_first_so_that_nobody_waits_for_them():
    models = {"a": "ctc_small", "b": "large", "c": "ctc_small", "d": "ctc_medium"}
    experiments = {
        name: {"model": {"name": model}, "training": {"num_epochs": 9}}
        for name, model in models.items()
    }
    space = read_space({"experiments": experiments}, "space.yaml")
    plan = SuccessiveHalving(space, grace_period=2, reduction_factor=3)
    records = begun(plan)
    assert [plan.next(records).name for _ in models] == ["d", "b", "a", "c"]
    assert plan.next(records) is None


def test_models_that_are_not_ours_are_not_built_to_learn_their_work(monkeypatch):
    monkeypatch.setitem(ModelRegistry._factories, "theirs", pytest.fail)
    assert work("theirs") == 0 < work("ctc") == work("ctc_small") < work("large")


def test_a_nan_is_worst_and_who_ended_before_is_not_counted():
    plan = halving()
    records = begun(plan)
    for value, record in enumerate(records.values()):
        train_record(record, 2, value / 10)
    records["t6"].epochs[0]["val_char_accuracy"] = math.nan
    records["t6"].epochs[1]["val_char_accuracy"] = math.nan
    records["t5"].status = "completed"
    assert plan.decide(records)["ends"] == ["t2", "t1", "t0", "t6"]  # of six, two go on
    for record in records.values():
        record.status = "failed"
    assert plan.decide(records) is None


def test_one_that_is_alone_waits_no_more():
    plan = halving(epochs=(2, 19))
    assert plan.rungs == [2, 6, 18]  # as far as the longest trial
    records = begun(plan)
    records["t0"].status = "completed"  # all of its two epochs
    train_record(records["t1"], 2, 0.5)
    decided = plan.decide(records)
    assert decided == {"epoch": 2, "ends": [], "left": 1}
    for again in (plan, halving(decisions=[decided])):
        if not again.decisions:
            again.take(decided)
        assert again.front is None and again.next(records) is records["t1"]


def test_what_does_not_go_with_it_is_refused():
    with pytest.raises(ConfigurationError, match="halving must go with --search random"):
        chosen_options({"scheduler": "halving", "search": "optuna"})
    with pytest.raises(ConfigurationError, match="begun with asha and must go on with it"):
        chosen_options({"scheduler": "halving"}, {}, {"scheduler": "asha"})


def test_new_trials_are_refused_once_some_were_ended():
    decided = [{"epoch": 2, "ends": ["t1"], "left": 1}]
    assert len(halving(epochs=(9, 9, 9)).first(begun=["t0", "t1"])) == 3
    assert len(halving(epochs=(9, 9), decisions=decided).first(begun=["t0", "t1"])) == 2
    with pytest.raises(ConfigurationError) as caught:
        halving(epochs=(9, 9, 9), decisions=decided).first(begun=["t0", "t1"])
    told = str(caught.value)
    assert "as after epoch 2" in told and "got 1 more, t2 first" in told
    assert "another --output-dir, where --scheduler asha" in told


def test_those_that_are_left_share_the_cores_so_that_all_fit(tmp_path, monkeypatch):
    cluster = Cluster(None, tmp_path)
    nodes = [{"CPU": 4.0}, {"CPU": 2.0}]
    monkeypatch.setattr(cluster, "nodes", lambda: nodes)
    shares = {trials: cluster.share({"cpu": 1.0}, trials) for trials in (1, 2, 3, 4, 6, 9)}
    assert shares == {1: 4, 2: 2, 3: 2, 4: 1, 6: 1, 9: 1}
    nodes[:] = [{"CPU": 2.0}]
    assert cluster.share({"cpu": 1.0}, 1) == 2
    nodes[:] = [{"CPU": 64.0}]
    assert cluster.share({"cpu": 1.0}, 1) == MOST_CPUS
    assert cluster.share({"cpu": 8.0}, 1) == 8
    assert cluster.share({"cpu": 0.5}, 200) == 0.5


def test_who_shares_is_the_same_all_the_way_to_a_rung():
    plan = halving()
    records = begun(plan)
    assert plan.together(records) == 7
    for place, record in enumerate(records.values()):
        train_record(record, 2, place / 10)
    plan.take(plan.decide(records))
    for name in plan.decisions[-1]["ends"]:
        records[name].status = "completed"
    assert plan.together(records) == 2
    train_record(records["t6"], 4, 0.5)
    records["t6"].status = "completed"  # early, while the other one is at it
    assert plan.together(records) == 2
    records["t5"].status = "failed"  # in its first epoch after the rung
    assert plan.together(records) == 2


def test_one_that_fails_in_its_very_first_epoch_still_counts_until_the_rung():
    plan = halving()
    records = begun(plan)
    records["t0"].status = "failed"
    assert plan.together(records) == 7
    for place, name in enumerate(sorted(records)[1:]):
        train_record(records[name], 2, place / 10)
    plan.take(plan.decide(records))
    for name in plan.decisions[-1]["ends"]:
        records[name].status = "completed"
    assert plan.together(records) == 2


@pytest.mark.slow
def test_the_winner_comes_out_as_if_it_had_waited_for_nobody(
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
