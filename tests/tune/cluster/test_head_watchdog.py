"""A cluster whose head is not there, or goes away: said soon, with the way on."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time

import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.journal import Journal
from raytune_ocr.tune.cluster import head_watchdog as head
from raytune_ocr.tune.cluster.cluster import Cluster
from tests.fixtures.materials import allowed

IMPATIENT = """
import sys
from raytune_ocr.tune.cluster import head_watchdog
from raytune_ocr.tune.__main__ import main
head_watchdog.PATIENCE = 4.0
sys.exit(main())
"""
LONG = """
experiments:
  first:
    model: {{name: ctc_small}}
    training: {{num_epochs: 4000, batch_size: 16, use_tensorboard: false}}
    scheduler: {{type: none}}
    early_stopping: {{patience: 0}}
"""


@pytest.fixture
def server():
    with socket.create_server(("", 0)) as listening:
        yield listening


@pytest.mark.parametrize("prefix", ["", "ray://"])
def test_nothing_at_an_address_is_said_at_once(no_shared_ray, server, tmp_path, prefix):
    address = f"{prefix}127.0.0.1:{server.getsockname()[1]}"
    head.find(address)
    server.close()
    begun = time.monotonic()
    with (
        pytest.raises(ConfigurationError, match=f"--address: .* at {address}: nothing answers"),
        Cluster(address, tmp_path).running(),
    ):
        pass
    assert time.monotonic() - begun < allowed(10)


@pytest.mark.parametrize("address", ["nonsense", "http://127.0.0.1:8265", "127.0.0.1:99999"])
def test_what_is_no_address_is_refused(no_shared_ray, tmp_path, address):
    with pytest.raises(ConfigurationError, match="--address"), Cluster(address, tmp_path).running():
        pass


def test_a_head_that_is_away_for_long_is_reported_once(server, monkeypatch):
    monkeypatch.setattr(head, "EVERY", 0.05)
    monkeypatch.setattr(head, "PATIENCE", 0.2)
    found = []
    with head.watched(f"127.0.0.1:{server.getsockname()[1]}", found.append):
        time.sleep(0.5)
        assert found == []
        server.close()
        time.sleep(1)
    assert len(found) == 1 and "refused" in found[0]


def test_a_head_that_neither_answers_nor_refuses_is_away_from_its_last_answer_on(monkeypatch):
    monkeypatch.setattr(head, "EVERY", 0.4)
    monkeypatch.setattr(head, "PATIENCE", 2.0)
    found, looks, problem = [], [], head.problem
    monkeypatch.setattr(head, "problem", lambda *where: looks.append(where) or problem(*where))
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as waiting:
        waiting.connect(full.getsockname())  # nobody accepts it: the next one gets no answer
        begun = time.monotonic()
        with head.watched("{}:{}".format(*full.getsockname()), found.append):
            while not found and time.monotonic() < begun + 20:
                time.sleep(0.02)
    assert "timed out" in found[0]
    assert len(looks) < 2.0 / 0.4  # each takes as long as the pause before it, and counts


def test_the_raylet_of_this_machine_is_found_where_it_answers(shared_ray):
    assert head.problem(head.raylet_address()) == "" and head.raylet_address().rpartition(":")[2]


@pytest.mark.slow
def test_a_run_whose_head_node_dies_says_so_and_how_to_continue(write_space, data, tmp_path):
    from ray.cluster_utils import Cluster as Nodes

    output = tmp_path / "out"
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1})
    words = ["--config", str(write_space(LONG)), "--data", str(data), "--output-dir", str(output)]
    address = nodes.address
    words += ["--results-file", str(tmp_path / "r.json"), "--address", address]
    process = subprocess.Popen(
        [sys.executable, "-c", IMPATIENT, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        printed = ""
        while "epoch 1/" not in printed:
            line = process.stdout.readline()
            assert line, printed
            printed += line
        for kind in nodes.head_node.all_processes.values():
            for started in kind:
                os.kill(started.process.pid, signal.SIGKILL)
        printed += process.communicate(timeout=60)[0]
    finally:
        process.kill()
        nodes.shutdown()
    assert process.returncode == 1, printed
    assert f"error: --address: the cluster's head node at {address} is gone: nothing" in printed
    again = f"-m raytune_ocr.tune {shlex.join(words)} --resume"
    assert "stopped; resume when the cluster is back with: " in printed and again in printed
    assert Journal(output).read().trials["first"].epochs
