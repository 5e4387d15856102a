"""How many trials Ray is given at a time."""

from raytune_ocr.tune.execution.ray_searcher import AskedTrials

from raytune_ocr.tune.cluster import cluster
from raytune_ocr.tune.cluster.cluster import Cluster


def test_trials_are_given_as_room_grows():
    drawn, room = iter(range(9)), [1]
    asked = AskedTrials([], lambda number: {"number": number}, lambda: next(drawn), lambda: room[0])
    assert asked.suggest("a") == {"number": 0}
    assert asked.suggest("b") is None
    room[0] = 2
    assert asked.suggest("b") == {"number": 1}
    assert asked.suggest("c") is None
    asked.on_trial_complete("a")
    assert asked.suggest("c") == {"number": 2}


def test_one_trial_more_is_asked_for_where_an_autoscaler_starts_nodes_for_it(monkeypatch, tmp_path):
    worker = {"CPU": 4.0, "memory": 2.0**33}
    up = [{"CPU": 0.0}]
    monkeypatch.setattr(Cluster, "nodes", lambda self: up)
    monkeypatch.setattr(cluster, "node_types", lambda: [worker])
    for expected in (1, 5, 9):
        assert Cluster("auto", tmp_path).places({"cpu": 1.0}) == expected
        up.append(worker)
    monkeypatch.setattr(cluster, "node_types", lambda: None)
    assert Cluster("auto", tmp_path).places({"cpu": 1.0}) == 12
