"""A run submitted as a Ray job, stopped, and submitted again, with token authentication on."""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pandas as pd
import psutil
import pytest

from raytune_ocr.results.journal import Journal
from tests.fixtures.materials import allowed

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
LONG = """
experiments:
  long:
    model: {{name: ctc_small}}
    training: {{num_epochs: 40, batch_size: 16, use_tensorboard: false}}
    scheduler: {{type: none}}
    early_stopping: {{patience: 0}}
"""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def head(ray_folder, no_shared_ray):
    """`ray start --head` as cluster.yaml does it: its job address, and the environment to use."""
    port, dashboard, agent = free_port(), free_port(), free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    words = [
        *("start", "--head", "--block", "--num-cpus=1", f"--port={port}"),
        *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
        f"--dashboard-agent-listen-port={agent}",  # not the one of another Ray's agent
        *("--include-dashboard=true", f"--temp-dir={ray_folder}/job"),
    ]
    with (Path(ray_folder) / "head.log").open("w") as log:
        process = subprocess.Popen([BIN / "ray", *words], env=environment, stdout=log, stderr=log)
    try:
        until = time.monotonic() + allowed(90)
        while status(f"http://127.0.0.1:{dashboard}/api/jobs/") is None:
            assert process.poll() is None and time.monotonic() < until, "the head did not start"
            time.sleep(0.3)
        # The dashboard answers before the agent that runs jobs is there.
        empty = [BIN / "ray", "job", "submit", "--address", f"http://127.0.0.1:{dashboard}"]
        while subprocess.run(
            [*empty, "--", "true"], env=environment, capture_output=True
        ).returncode:
            assert process.poll() is None and time.monotonic() < until, "no agent runs jobs"
            time.sleep(0.3)
        yield dashboard, environment, process
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        psutil.wait_procs([psutil.Process(process.pid)], timeout=15)
        for left in family:
            if left.is_running():
                left.kill()


def status(url, token=None):
    """The HTTP status of a GET, None where nobody listens."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as got:
            return got.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def submit(dashboard, environment, *words):
    return subprocess.Popen(
        [
            *(BIN / "ray", "job", "submit", "--address", f"http://127.0.0.1:{dashboard}"),
            *("--working-dir", ".", "--submission-id", words[0], "--"),
            *("python", "-m", "raytune_ocr.tune", "--address", "auto", "--resume-if-any"),
            *words[1:],
        ],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_a_job_that_was_stopped_goes_on_when_it_is_submitted_again(
    head, write_space, data, tmp_path
):
    dashboard, environment, _ = head
    jobs = f"http://127.0.0.1:{dashboard}/api/jobs/"
    assert status(jobs) == 401
    assert status(jobs, environment["RAY_AUTH_TOKEN"]) == 200
    listening = [c.laddr for c in psutil.net_connections() if c.status == psutil.CONN_LISTEN]
    assert {address.ip for address in listening if address.port == dashboard} == {"127.0.0.1"}

    output = tmp_path / "out"
    words = [
        *("--config", str(write_space(LONG)), "--data", str(data), "--output-dir", str(output)),
        *("--results-file", str(tmp_path / "r.json"), "--scheduler", "none"),
    ]
    first = submit(dashboard, environment, "first", *words)
    until = time.monotonic() + allowed(240)
    while len(epochs_noted(output)) < 3:
        assert first.poll() is None and time.monotonic() < until, first.communicate()[0]
        time.sleep(0.1)
    stop = [BIN / "ray", "job", "stop", "--address", f"http://127.0.0.1:{dashboard}", "first"]
    subprocess.run(stop, env=environment, check=True, capture_output=True)
    first.wait(60)
    done = len(epochs_noted(output))
    assert 3 <= done < 40

    told, _ = submit(dashboard, environment, "second", *words).communicate(timeout=allowed(240))
    assert "succeeded" in told, told
    assert list(pd.read_csv(output / "epochs.csv")["epoch"]) == list(range(1, 41))
    log = (output / "long" / "logs" / "training.log").read_text().splitlines()
    assert len(log) <= 41  # at most one epoch was done again


def epochs_noted(output):
    trials = Journal(output).read().trials
    return trials["long"].epochs if "long" in trials else []
