"""A run submitted as a Ray job loses a node, is stopped, and submitted again; tokens are on."""

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
from tests.fixtures.materials import allowed, wait_until

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
    """A head and two workers as cluster.yaml starts them: its ports and the environment to use."""
    port, dashboard, agent = free_port(), free_port(), free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # nodes end at once
    }
    words = [
        *("start", "--head", "--block", "--num-cpus=0", f"--port={port}"),
        *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
        f"--dashboard-agent-listen-port={agent}",  # not the one of another Ray's agent
        "--node-ip-address=127.0.0.1",
        *("--include-dashboard=true", f"--temp-dir={ray_folder}/job"),
    ]
    log = (Path(ray_folder) / "head.log").open("w")
    process = subprocess.Popen([BIN / "ray", *words], env=environment, stdout=log, stderr=log)
    started = [process]
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
        for number in range(2):
            join = [
                *(BIN / "ray", "start", "--block", f"--address=127.0.0.1:{port}", "--num-cpus=1"),
                *("--node-ip-address=127.0.0.1", f"--dashboard-agent-listen-port={free_port()}"),
            ]
            # One after the other: of two that join at once on one machine, one may wait for ever.
            its_log = Path(ray_folder) / f"worker{number}.log"
            with its_log.open("w") as out:
                started.append(subprocess.Popen(join, env=environment, stdout=out, stderr=out))
            wait_until(lambda file=its_log: "Ray runtime started" in file.read_text(), seconds=90)
        yield dashboard, environment, started[1:]
    finally:
        for each in reversed(started):
            end(each)


def end(process):
    """End `ray start --block` and what it has started."""
    if process.poll() is not None:
        return
    family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    psutil.wait_procs([psutil.Process(process.pid)], timeout=15)
    for left in family:
        if left.is_running():
            left.kill()


def kill_node_that_trains(workers):
    """Kill the whole node below whose `ray start` a trial runs."""
    for worker in workers:
        family = psutil.Process(worker.pid).children(recursive=True)
        if any("ImplicitFunc" in words_of(process) for process in family):
            for process in [psutil.Process(worker.pid), *family]:
                if process.is_running():
                    process.kill()
            worker.wait()
            return
    raise AssertionError("no node trains")


def words_of(process):
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


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
def test_a_job_that_lost_a_node_and_was_stopped_continues_when_it_is_submitted_again(
    head, write_space, data, tmp_path
):
    dashboard, environment, workers = head
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
    wait_until(lambda: len(epochs_noted(output)) >= 3, first, 240)
    kill_node_that_trains(workers)
    there = len(epochs_noted(output))
    wait_until(lambda: len(epochs_noted(output)) >= there + 2, first, 240)
    stop = [BIN / "ray", "job", "stop", "--address", f"http://127.0.0.1:{dashboard}", "first"]
    subprocess.run(stop, env=environment, check=True, capture_output=True)
    first.wait(60)
    done = len(epochs_noted(output))
    assert 5 <= done < 40

    printed, _ = submit(dashboard, environment, "second", *words).communicate(timeout=allowed(240))
    assert "succeeded" in printed, printed
    assert list(pd.read_csv(output / "epochs.csv")["epoch"]) == list(range(1, 41))
    log = (output / "long" / "logs" / "training.log").read_text().splitlines()
    assert len(log) <= 42  # at most one epoch was done again each time


def epochs_noted(output):
    trials = Journal(output).read().trials
    return trials["long"].epochs if "long" in trials else []
