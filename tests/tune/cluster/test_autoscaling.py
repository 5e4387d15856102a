"""A cluster that grows from nothing gets all its nodes at once; a fake autoscaler counts them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.fixtures.materials import wait_until
from tests.tune.cluster.test_jobs import free_port

BIN = Path(sys.executable).parent
HEAD_ID, HEAD_TYPE = "f" * 56, "ray.head.default"  # as Ray's fake provider calls the head
TRIALS = 4
COMMANDS = (  # which the launcher would fill in
    *("cluster_synced_files", "initialization_commands", "setup_commands"),
    *("head_setup_commands", "worker_setup_commands"),
    *("head_start_ray_commands", "worker_start_ray_commands"),
)
SEARCH = """
tuning: {{scheduler: halving, grace_period: 1, num_samples: 4}}
experiments:
  found:
    model: {{name: ctc_small}}
    training: {{num_epochs: 3, learning_rate: {{loguniform: [1e-4, 1e-2]}}}}
"""


@pytest.fixture
def fake_autoscaler(ray_folder, no_shared_ray, tmp_path):
    """A head without CPUs and an autoscaler that may start nodes of one: address and log."""
    plain = {"node_config": {}, "min_workers": 0}
    config = {
        "cluster_name": "fake",
        "max_workers": 8,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 5,
        "provider": {"type": "fake_multinode", "head_node_id": HEAD_ID},
        "available_node_types": {
            HEAD_TYPE: {**plain, "resources": {"CPU": 0}, "max_workers": 0},
            "worker": {**plain, "resources": {"CPU": 1}, "max_workers": 8},
        },
        "head_node_type": HEAD_TYPE,
        **{key: {} for key in ("auth", "docker", "file_mounts")},
        **{key: [] for key in COMMANDS},
    }
    path = tmp_path / "autoscaling.yaml"
    path.write_text(json.dumps(config))
    port, folder = free_port(), Path(ray_folder) / "auto"
    words = [
        *("start", "--head", "--block", "--num-cpus=0", f"--port={port}", f"--temp-dir={folder}"),
        *("--include-dashboard=false", f"--autoscaling-config={path}"),
    ]
    faked = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    with (tmp_path / "head.log").open("w") as log:
        head = subprocess.Popen(
            [BIN / "ray", *words], env={**os.environ, **faked}, stdout=log, stderr=log
        )
    monitor = folder / "session_latest" / "logs" / "monitor.log"
    try:
        wait_until(monitor.exists, head)
        yield f"127.0.0.1:{port}", monitor
    finally:
        family = psutil.Process(head.pid).children(recursive=True)
        head.terminate()
        psutil.wait_procs([psutil.Process(head.pid)], timeout=15)
        for left in [*family, *started_by(folder)]:
            if left.is_running():
                left.kill()


def started_by(folder):
    """Processes of the nodes that the autoscaler has started, which are nobody's children."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in word for word in process.info["cmdline"] or ())
    ]


@pytest.mark.slow
def test_all_trials_of_a_cohort_get_nodes_at_once(fake_autoscaler, write_space, data, tmp_path):
    address, monitor = fake_autoscaler
    words = [
        *("--config", str(write_space(SEARCH)), "--data", str(data)),
        *("--output-dir", str(tmp_path / "out"), "--results-file", str(tmp_path / "r.json")),
        *("--address", address),
    ]
    run = subprocess.Popen(
        [sys.executable, "-m", "raytune_ocr.tune", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until(lambda: sum(launches(monitor)) >= TRIALS, run)
        assert len(launches(monitor)) <= 2  # an update may come while they are asked for
    finally:
        run.kill()
        run.wait()


def launches(monitor):
    """How many nodes the autoscaler has started in each of its updates that started any."""
    return [int(n) for n in re.findall(r"Queue (\d+) new nodes for launch", monitor.read_text())]
