"""What trials ask of nodes: sums first, then a real cluster that grows while a run waits."""

import json
import re
import subprocess
import sys

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.cluster.cluster import Cluster
from raytune_ocr.tune.cluster.placement import evened, fits, node_types, places, problem, waits_for
from raytune_ocr.tune.execution.ray_executor.out_of_memory import memory_needed

GIB = 2**30
SMALL = {"CPU": 4.0, "memory": 8.0 * GIB}
WITH_GPU = {"CPU": 8.0, "GPU": 1.0, "memory": 30.0 * GIB}


def test_a_trial_must_fit_on_one_node():
    assert fits({"cpu": 8, "gpu": 0.25}, WITH_GPU)
    assert "at most 4 CPUs, the most that a node has, got 8" in problem({"cpu": 8}, [SMALL, SMALL])
    assert "no single node" in problem({"cpu": 2, "gpu": 1}, [SMALL, {"CPU": 1.0, "GPU": 1.0}])
    assert "--gpus-per-trial: must be at most 0 GPUs" in problem({"gpu": 1}, [SMALL])
    assert "got 40" in problem({"memory": 40 * GIB}, [WITH_GPU])
    assert problem({"cpu": 1, "memory": GIB}, [SMALL]) == ""


def test_more_than_one_gpu_comes_whole():
    found = problem({"cpu": 1, "gpu": 1.5}, [{"CPU": 8.0, "GPU": 4.0}])
    assert found == "--gpus-per-trial: must be a whole number or a fraction below 1, got 1.5"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"cpu": 1}, 12),
        ({"cpu": 1, "memory": 3 * GIB}, 2 + 8),
        ({"cpu": 1, "gpu": 0.25}, 4),
        ({"cpu": 100}, 0),
    ],
)
def test_as_many_trials_as_fit_on_the_nodes_by_whatever_there_is_least_of(request_, expected):
    assert places(request_, [SMALL, WITH_GPU]) == expected


def test_what_a_trial_waits_for_is_said():
    request = {"cpu": 1, "gpu": 0.5}
    assert waits_for(request, [SMALL], [SMALL]).startswith("for a node with 1 CPU, 0.5 GPUs")
    full = {"CPU": 6.0, "GPU": 0.0}
    assert waits_for(request, [WITH_GPU], [full]) == (
        "for 1 CPU, 0.5 GPUs on one node: 2 of 8 CPUs, 1 of 1 GPU are in use"
    )
    assert waits_for(request, [WITH_GPU], [WITH_GPU]) == ""


def test_a_trial_is_expected_to_take_what_was_measured():
    new, seen = TrialRecord(TrainingConfig()), TrialRecord(TrainingConfig())
    assert memory_needed(new, [new, seen]) == 600 * 2**20
    seen.epochs = [{"epoch": 1, "memory_mb": 1000.0}, {"epoch": 2, "memory_mb": 2000.0}]
    assert memory_needed(new, [new, seen]) == memory_needed(seen, []) == 2400 * 2**20
    for megabytes in (420.0, 500.0):  # about as much is as much: processes can be used again
        new.epochs = [{"epoch": 1, "memory_mb": megabytes}]
        assert memory_needed(new, [new, seen]) == 600 * 2**20


def test_small_trials_ask_for_alike_where_each_cpu_has_a_gibibyte():
    assert evened(0.6 * GIB, 1, [SMALL, WITH_GPU]) == evened(0.9 * GIB, 1, [SMALL]) == GIB
    assert evened(2.4 * GIB, 1, [SMALL]) == 2.4 * GIB
    assert evened(0.6 * GIB, 1, [SMALL, {"CPU": 64.0, "memory": 32.0 * GIB}]) == 0.6 * GIB
    assert evened(0.6 * GIB, 2, [{"CPU": 64.0, "memory": 32.0 * GIB}]) == GIB


def test_what_an_autoscaler_may_start_is_read_from_the_launchers_file(tmp_path):
    path = tmp_path / "ray_bootstrap_config.yaml"
    assert node_types(path) is None
    path.write_text(
        "available_node_types:\n"
        "  head: {resources: {CPU: 0}, max_workers: 0}\n"
        "  gpu: {resources: {CPU: 4, GPU: 1, memory: 1000}, max_workers: 8}\n"
    )
    assert node_types(path) == [{"CPU": 4.0, "GPU": 1.0, "memory": 1000.0}]
    for unknown in ("[", "a: 1", "available_node_types: {gpu: {resources: {}}}"):
        path.write_text(unknown)
        assert node_types(path) is None


@pytest.mark.slow
def test_trials_wait_for_a_node_that_can_run_them_and_share_its_gpu(
    start_cluster, write_space, data, tmp_path
):
    cluster = start_cluster(num_cpus=0)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "raytune_ocr.tune", "--config", str(write_space(epochs=2))),
            *("--data", str(data), "--output-dir", str(tmp_path / "out")),
            *("--results-file", str(tmp_path / "r.json"), "--address", cluster.address),
            *("--gpus-per-trial", "0.5"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if "waits for a node" in line:
                cluster.add_node(num_cpus=2, num_gpus=1)
                break
        rest, _ = process.communicate(timeout=240)
    finally:
        process.kill()
    output = "".join(said) + rest
    assert process.returncode == 0, output
    assert "first waits for a node with 1 CPU, 0.5 GPUs to join: no node has them" in output
    assert output.count("waits for a node") == 1 and "must be at most" not in output
    document = json.loads((tmp_path / "r.json").read_text())
    assert {r["status"] for r in document["all_results"]} == {"completed"}


LONG_AND_SHORT = """
experiments:
  first:
    model: {{name: ctc_small}}
    training: {{num_epochs: 20, batch_size: 16, use_tensorboard: false}}
    scheduler: {{type: none}}
    early_stopping: {{patience: 0}}
  second:
    model: {{name: ctc_small}}
    training: {{num_epochs: 2, batch_size: 16, use_tensorboard: false}}
"""


@pytest.mark.slow
def test_where_memory_suffices_for_one_trial_the_other_waits_though_a_cpu_is_free(
    start_cluster, write_space, data, tmp_path
):
    up = start_cluster(num_cpus=2, memory=1000 * 2**20)
    joined = Cluster(up.address, tmp_path)
    with joined.running():
        request = joined.request(1, None, memory_needed(TrialRecord(TrainingConfig()), []))
        assert (joined.places({"cpu": 1}), joined.places(request)) == (2, 1)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "raytune_ocr.tune", "--data", str(data)),
            *("--config", str(write_space(LONG_AND_SHORT)), "--output-dir", str(tmp_path / "out")),
            *("--results-file", str(tmp_path / "r.json"), "--address", up.address),
            *("--scheduler", "none"),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    reported = re.findall(r"^(first|second) +epoch [1-9]", done.stdout, re.M)
    assert reported == sorted(reported) and len(set(reported)) == 2
    assert {"first", "second"} == {
        result["experiment_name"]
        for result in json.loads((tmp_path / "r.json").read_text())["all_results"]
        if result["status"] == "completed"
    }
