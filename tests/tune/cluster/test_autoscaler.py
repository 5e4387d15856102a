import subprocess
import sys

import pytest

from raytune_ocr.tune.cluster import autoscaler
from raytune_ocr.tune.cluster.autoscaler import may_be_there


@pytest.fixture(autouse=True)
def plain_machine(monkeypatch):
    """Without variables or processes of an autoscaler."""
    for name in autoscaler.KUBERAY:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(autoscaler.psutil, "process_iter", lambda names: iter(()))


def test_nodes_that_were_started_by_hand_have_no_autoscaler():
    assert not may_be_there([{"NodeID": "a", "Labels": {"ray.io/node-id": "a"}}, {"NodeID": "b"}])


def test_the_label_of_a_node_group_tells_of_one():
    assert may_be_there([{"Labels": {}}, {"Labels": {"ray.io/node-group": "workers"}}])


def test_a_pod_of_kuberay_tells_of_one(monkeypatch):
    monkeypatch.setenv("RAY_CLUSTER_NAME", "khmer")
    assert may_be_there([])


def test_its_process_on_the_head_tells_of_one(monkeypatch):
    monkeypatch.undo()
    words = ["-c", "input()", "--autoscaling-config=/tmp/none.yaml"]
    with subprocess.Popen([sys.executable, *words], stdin=subprocess.PIPE) as process:
        assert may_be_there([])
        process.kill()
