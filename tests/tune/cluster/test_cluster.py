"""The Ray that a run starts for itself is nobody else's, though it listens on the network."""

import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from types import SimpleNamespace

import psutil
import pytest

from raytune_ocr.errors import ConfigurationError, ExperimentFailedError
from raytune_ocr.results.journal import Journal
from raytune_ocr.tune.cluster import cluster
from raytune_ocr.tune.cluster.cluster import (
    MOST_CPUS,
    Cluster,
    own_session,
    prepare_environment,
    session_folder,
)
from raytune_ocr.tune.cluster.ray_patches import RAYLET_ENDED
from raytune_ocr.tune.storage.scratch import OWNER, remove_ownerless

LONG = """
experiments:
  long:
    model: {{name: ctc_small}}
    training: {{num_epochs: 9999, batch_size: 16, use_tensorboard: false}}
    scheduler: {{type: none}}
    early_stopping: {{patience: 0}}
"""
STRANGER = """
import sys, ray
try:
    ray.init(address=sys.argv[1], logging_level="ERROR")
except ConnectionError:
    sys.exit(7)
"""


@pytest.mark.slow
def test_a_runs_own_ray_takes_orders_from_nobody_without_its_token(write_space, data, tmp_path):
    unset = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment["HOME"] = str(tmp_path)
    words = [
        *("--config", str(write_space(LONG)), "--data", str(data)),
        *("--output-dir", str(tmp_path / "out"), "--results-file", str(tmp_path / "r.json")),
    ]
    run = subprocess.Popen([sys.executable, "-m", "raytune_ocr.tune", *words], env=environment)
    try:
        until = time.monotonic() + 120
        while not any(t.epochs for t in Journal(tmp_path / "out").read().trials.values()):
            assert run.poll() is None and time.monotonic() < until
            time.sleep(0.2)
        family = psutil.Process(run.pid).children(recursive=True)
        found = " ".join(word for process in family for word in process.cmdline())
        address = re.search(r"--gcs-address=(\S+:\d+)", found)[1]
        stranger = subprocess.run(
            [sys.executable, "-c", STRANGER, address],
            env={**environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
            timeout=90,
        )
        assert stranger.returncode == 7
        assert run.poll() is None
        assert "RAY_AUTH_TOKEN" not in found
        assert not (tmp_path / ".ray" / "auth_token").exists()
    finally:
        run.terminate()
        run.wait(60)


def test_a_ray_that_does_not_start_is_one_error_with_what_to_do(
    tmp_path, monkeypatch, no_shared_ray
):
    session = tmp_path / "ray" / f"session_2026_{os.getpid()}"
    monkeypatch.setenv("RAY_TMPDIR", ".")  # short enough for Ray
    monkeypatch.chdir(tmp_path)

    def fail(**settings):
        session.mkdir(parents=True)
        raise Exception("The current node timed out\nduring startup.")  # as Ray does

    monkeypatch.setattr("ray.init", fail)
    with pytest.raises(ExperimentFailedError) as caught, Cluster(None, tmp_path).running():
        pass
    said = str(caught.value)
    assert "does not start on this machine: The current node timed out during startup." in said
    assert str(tmp_path / "ray.log") in said and f"{session.name}/logs); check that" in said
    assert remove_ownerless(tmp_path.glob("ray/session_*")) == [session]  # as the next run does
    assert "--address auto" in said


@pytest.mark.parametrize(("failures", "starts"), [(1, True), (2, True), (3, False)])
def test_a_ray_that_was_too_slow_is_started_again_and_leaves_no_process(
    tmp_path, monkeypatch, no_shared_ray, failures, starts
):
    left = []

    def start(**settings):
        if len(left) < failures:
            left.append(subprocess.Popen(["sleep", "600"]))
            raise ConnectionError(RAYLET_ENDED)
        return SimpleNamespace(address_info={"session_dir": str(tmp_path)})

    (tmp_path / "session_1").mkdir()
    monkeypatch.setattr("ray.init", start)
    try:
        with suppress(ExperimentFailedError), Cluster(None, tmp_path).running():
            assert starts
        assert len(left) == failures
        assert [process.poll() is None for process in left] == [False, False, True][:failures]
    finally:
        for process in left:
            process.kill()


def test_a_time_to_wait_for_ray_is_a_number(tmp_path, monkeypatch, no_shared_ray):
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "long")
    with (
        pytest.raises(ConfigurationError, match="must be seconds, got 'long'"),
        Cluster(None, tmp_path).running(),
    ):
        pass


def test_what_trials_print_is_limited(monkeypatch):
    monkeypatch.delenv("RAY_ROTATION_MAX_BYTES", raising=False)
    monkeypatch.setenv("RAY_ROTATION_BACKUP_COUNT", "3")  # the user's own stays
    prepare_environment(local=True)
    assert int(os.environ["RAY_ROTATION_MAX_BYTES"]) <= 2**24
    assert os.environ["RAY_ROTATION_BACKUP_COUNT"] == "3"


def test_a_session_is_removed_when_its_run_ends_and_those_of_killed_runs_before(tmp_path):
    for name in ("session_killed", "session_of_others", "session_own"):
        (tmp_path / name / "logs").mkdir(parents=True)
    (tmp_path / "session_killed" / OWNER).write_text("\n")
    with own_session(str(tmp_path / "session_own")):
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {"session_of_others", "session_own"}
    assert [path.name for path in tmp_path.iterdir()] == ["session_of_others"]
    (tmp_path / "session_fails").mkdir()
    with suppress(ValueError), own_session(str(tmp_path / "session_fails")):
        raise ValueError
    assert (tmp_path / "session_fails").exists()  # to look into, until the next run


def test_a_cohort_shares_the_cores_so_that_all_of_it_fits(tmp_path, monkeypatch):
    own = Cluster(None, tmp_path)
    nodes = [{"CPU": 4.0}, {"CPU": 2.0}]
    monkeypatch.setattr(own, "nodes", lambda: nodes)
    shares = {trials: own.share({"cpu": 1.0}, trials) for trials in (1, 2, 3, 4, 6, 9)}
    assert shares == {1: 4, 2: 2, 3: 2, 4: 1, 6: 1, 9: 1}
    nodes[:] = [{"CPU": 2.0}]
    assert own.share({"cpu": 1.0}, 1) == 2
    nodes[:] = [{"CPU": 64.0}]
    assert own.share({"cpu": 1.0}, 1) == MOST_CPUS
    assert own.share({"cpu": 8.0}, 1) == 8
    assert own.share({"cpu": 0.5}, 200) == 0.5


def test_there_is_room_for_one_trial_at_least(monkeypatch, tmp_path):
    up = [{"CPU": 0.0}]
    monkeypatch.setattr(Cluster, "nodes", lambda self: up)
    for expected in (1, 4, 8):
        assert Cluster("auto", tmp_path).places({"cpu": 1.0}) == expected
        up.append({"CPU": 4.0, "memory": 2.0**33})


def test_what_no_node_has_is_waited_for_where_it_may_be_added(monkeypatch, tmp_path):
    monkeypatch.setattr(Cluster, "nodes", lambda self: [{"CPU": 0.0}])
    monkeypatch.setattr(Cluster, "may_autoscale", lambda self: True)
    with pytest.raises(ConfigurationError, match="at most 0 CPUs"):
        Cluster(None, tmp_path).check({"cpu": 1.0})
    Cluster("auto", tmp_path).check({"cpu": 1.0})
    monkeypatch.setattr(cluster, "node_types", lambda: [{"CPU": 4.0}])
    Cluster("auto", tmp_path).check({"cpu": 1.0})
    with pytest.raises(ConfigurationError, match="at most 4 CPUs"):
        Cluster("auto", tmp_path).check({"cpu": 8.0})


def test_sessions_of_ray_go_where_the_paths_of_its_sockets_fit(monkeypatch):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    assert session_folder() is None
    monkeypatch.setattr(tempfile, "tempdir", "/scratch/" + "slurm_job" * 5)
    assert session_folder() == "/tmp/ray"
    monkeypatch.setenv("RAY_TMPDIR", "/scratch/" + "slurm_job" * 5)
    with pytest.raises(ConfigurationError, match="RAY_TMPDIR: must have at most 38 characters"):
        session_folder()


def test_what_no_node_of_a_cluster_without_autoscaler_has_is_an_error(monkeypatch, tmp_path):
    offers = [{"CPU": 4.0}]
    monkeypatch.setattr(Cluster, "nodes", lambda self: offers)
    monkeypatch.setattr(Cluster, "may_autoscale", lambda self: False)
    monkeypatch.setattr(cluster.time, "sleep", lambda seconds: offers.append({"CPU": 1, "GPU": 1}))
    assert cluster.JOIN_SECONDS <= 20
    Cluster("auto", tmp_path).check({"cpu": 1.0, "gpu": 0.25})  # a node joins meanwhile
    del offers[1:]
    monkeypatch.setattr(cluster, "JOIN_SECONDS", -1.0)
    said = "at most 0 GPUs, the most that a node has, got 0.25, and the cluster has no autoscaler"
    with pytest.raises(ConfigurationError, match=said):
        Cluster("auto", tmp_path).check({"cpu": 1.0, "gpu": 0.25})


def with_a_clock_of_its_own(monkeypatch, cluster):
    clock = [0.0]

    def sleep(seconds):
        clock[0] += seconds

    monkeypatch.setattr(cluster, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    return clock


def test_what_no_node_has_is_given_up_within_half_a_minute(monkeypatch, tmp_path):
    clock = with_a_clock_of_its_own(monkeypatch, cluster)
    monkeypatch.setattr(cluster, "node_types", lambda: None)
    monkeypatch.setattr(cluster.Cluster, "nodes", lambda self: [{"CPU": 4.0}])
    monkeypatch.setattr(cluster.Cluster, "may_autoscale", lambda self: False)
    with pytest.raises(ConfigurationError, match="at most 0 GPUs"):
        cluster.Cluster("auto", tmp_path).check({"cpu": 1.0, "gpu": 0.25})
    assert 0 < clock[0] <= 22
