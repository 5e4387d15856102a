"""A run through Ray Client: the driver stays where it was started, with its files and signals."""

import os
import signal
import socket
import subprocess
import sys
import time

import pandas as pd
import pytest

from raytune_ocr.results.journal import Journal
from tests.fixtures.materials import allowed

LONG = """
experiments:
  long:
    model: {{name: ctc_small}}
    training: {{num_epochs: 25, batch_size: 16, use_tensorboard: false}}
    scheduler: {{type: none}}
    early_stopping: {{patience: 0}}
  short:
    model: {{name: ctc_small}}
    training: {{num_epochs: 2, batch_size: 16, use_tensorboard: false}}
    scheduler: {{type: none}}
"""


@pytest.fixture
def client_server(start_cluster):
    """A cluster's head that takes clients: their address."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    start_cluster(num_cpus=1, ray_client_server_port=port)
    address = f"ray://127.0.0.1:{port}"
    # Each client has a server of its own, on ports that another cluster's may have taken.
    join = [sys.executable, "-c", f"import ray; ray.init({address!r})"]
    assert any(subprocess.run(join, timeout=60).returncode == 0 for _ in range(5))
    return address


def epochs_noted(output):
    return {name: len(trial.epochs) for name, trial in Journal(output).read().trials.items()}


def wait_for_epochs(output, number, process, seconds=120):
    until = time.monotonic() + allowed(seconds)
    while epochs_noted(output).get("long", 0) < number:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until, f"no {number} epochs in {seconds} s"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_run_through_a_client_survives_kills_and_signals_like_any_other(
    client_server, write_space, data, tmp_path
):
    output = tmp_path / "out"
    words = [
        *(sys.executable, "-m", "raytune_ocr.tune", "--config", str(write_space(LONG))),
        *("--data", str(data), "--output-dir", str(output), "--scheduler", "none"),
        *("--results-file", str(tmp_path / "r.json"), "--address", client_server),
    ]

    def driver(*more):
        return subprocess.Popen(
            [*words, *more],
            env={**os.environ, "RAY_CLIENT_RECONNECT_GRACE_PERIOD": "2"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    first = driver()
    wait_for_epochs(output, 3, first)
    first.kill()
    first.communicate()
    killed_at = epochs_noted(output)["long"]

    second = driver("--resume")
    wait_for_epochs(output, killed_at + 3, second)
    begun = time.monotonic()
    second.send_signal(signal.SIGINT)
    printed, _ = second.communicate(timeout=120)
    assert time.monotonic() - begun < allowed(10)
    assert second.returncode == 130, printed
    assert "--resume" in printed

    third = driver("--resume")
    printed, _ = third.communicate(timeout=240)
    assert third.returncode == 0, printed
    epochs = pd.read_csv(output / "epochs.csv").groupby("experiment_name")["epoch"]
    assert {name: list(rows) for name, rows in epochs} == {
        "long": list(range(1, 26)),
        "short": [1, 2],
    }
    log = (output / "long" / "logs" / "training.log").read_text().splitlines()
    assert len(log) <= 27  # at most one epoch was done again each time
