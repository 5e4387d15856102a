"""Where a run is kept: folders, URIs, pyarrow's file systems, and nodes that do not see them."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.inference.locate import find_checkpoint
from raytune_ocr.results.journal import Journal
from raytune_ocr.tune import HyperparameterTuner, load_results
from raytune_ocr.tune.__main__ import main
from raytune_ocr.tune.storage.storage import Storage
from tests.fixtures.storages import stand_in


@pytest.fixture(params=["folder", "file://", "pyarrow"])
def storage(request, tmp_path):
    """The same places under three kinds of names."""
    (tmp_path / "bucket").mkdir()
    place = str(tmp_path / "bucket" / "run")
    kinds = {"folder": place, "file://": f"file://{place}", "pyarrow": stand_in(tmp_path)}
    return Storage.at(kinds[request.param])


@pytest.mark.parametrize("place", ["memory://a", "nonsense://a/b", "s3://"])
def test_a_place_that_pyarrow_does_not_know_is_reported_with_the_way_out(place):
    with pytest.raises(ConfigurationError, match=r"--storage: must be a folder or a URI .* mount"):
        Storage.at(place)


def options(space, data, folder, storage, **more):
    return {
        "config_file": str(space),
        "data": str(data),
        "output_dir": folder / "out",
        "results_file": folder / "r.json",
        "storage": storage,
        "quiet": True,
        **more,
    }


@pytest.mark.slow
def test_a_run_is_resumed_from_its_storage_alone(shared_ray, write_space, data, tmp_path):
    """Killed on one machine, resumed on another that has nothing but the storage."""
    storage = tmp_path / "bucket" / "run"
    first, second = tmp_path / "first", tmp_path / "second"
    words = [
        *("--config", str(write_space(epochs=12)), "--data", str(data)),
        *("--storage", f"file://{storage}", "--scheduler", "none", "--max-concurrent", "1"),
        *("--set", "early_stopping_patience=0", "--results-file", str(tmp_path / "r.json")),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "raytune_ocr.tune", *words, "--output-dir", str(first)]
    )
    until = time.monotonic() + 240
    while not list(storage.glob("*/checkpoint_000004/state.pt")):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.wait()
    shutil.rmtree(first)

    assert main([*words, "--output-dir", str(second), "--resume", "--quiet"]) == 0
    document = json.loads((tmp_path / "r.json").read_text())
    assert {r["status"] for r in document["all_results"]} == {"completed"}
    for _, rows in pd.read_csv(second / "epochs.csv").groupby("experiment_name"):
        assert list(rows["epoch"]) == list(range(1, 13))
    logged = (second / "first" / "logs" / "training.log").read_text().splitlines()
    assert len(logged) <= 13  # what the first process did was not done again
    best = document["best_result"]
    assert best["checkpoint"].startswith(str(second))
    assert find_checkpoint(tmp_path / "r.json").is_file()
    kept = sorted(path.name for path in storage.iterdir())
    assert {"first", "second", "run_state.jsonl", "results.json", "epochs.csv"} <= set(kept)
    states = {path.parts[-3] for path in storage.rglob("state.pt")}
    assert states == {best["experiment_name"]}
    assert Journal(storage).exists()


@pytest.mark.slow
def test_a_run_is_kept_in_any_file_system_of_pyarrow(shared_ray, write_space, data, tmp_path):
    storage = stand_in(tmp_path)
    given = options(write_space(epochs=2), data, tmp_path / "one", storage)
    document = HyperparameterTuner(**given).run_experiments(["first"])
    assert document["best_result"]["total_epochs"] == 2
    assert (tmp_path / "bucket" / "run" / "first" / "checkpoints" / "best_model.pt").is_file()
    again = options(write_space(epochs=2), data, tmp_path / "two", storage, resume=True)
    assert HyperparameterTuner(**again).run_experiments(["first"])["experiments_completed"] == 1
    assert len(load_results(tmp_path / "two" / "out")) == 1


@pytest.fixture
def hiding_cluster(start_cluster, tmp_path):
    """A head without CPUs, a folder, and what adds a node that has an empty folder in its place."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("a file system can be hidden only by root")
    cluster = start_cluster(num_cpus=0)
    ray = shutil.which("ray", path=os.path.dirname(sys.executable))  # noqa: PTH120
    start = f"mount -t tmpfs tmpfs {hidden} && exec {ray} start --block --num-cpus 1"
    nodes = []

    def add_blind_node():
        words = ["unshare", "-m", "sh", "-c", f"{start} --address {cluster.address}"]
        quiet = subprocess.DEVNULL
        nodes.append(subprocess.Popen(words, stdout=quiet, stderr=quiet))

    try:
        yield cluster, hidden, add_blind_node
    finally:
        for node in nodes:
            node.terminate()
            node.wait(20)


def cluster_has_nodes(cluster, number, seconds=60):
    import ray

    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    until = time.monotonic() + seconds
    while sum(node["Alive"] for node in ray.nodes()) < number:
        assert time.monotonic() < until, "the node did not join"
        time.sleep(0.2)
    ray.shutdown()


@pytest.mark.slow
def test_a_node_that_does_not_see_the_output_folder_is_named_and_a_storage_helps(
    hiding_cluster, write_space, data, tmp_path, capsys
):
    cluster, hidden, add_blind_node = hiding_cluster
    add_blind_node()
    cluster_has_nodes(cluster, 2)
    words = [
        *("--config", str(write_space(epochs=2)), "--data", str(data), "--experiments", "first"),
        *("--output-dir", str(hidden / "out"), "--results-file", str(tmp_path / "r.json")),
        *("--address", cluster.address),
    ]
    assert main(words) == 2
    output = capsys.readouterr().err
    assert f"{hidden / 'out'}: node " in output and "cannot read or write it" in output
    assert "--storage: name a folder or a URI" in output
    assert main([*words, "--storage", str(tmp_path / "shared"), "--quiet"]) == 0
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["best_result"]["checkpoint"].startswith(str(hidden))
    assert find_checkpoint(tmp_path / "r.json").is_file()


@pytest.mark.slow
def test_a_node_that_joins_later_and_does_not_see_the_folder_is_named_and_avoided(
    hiding_cluster, write_space, data, tmp_path
):
    cluster, hidden, add_blind_node = hiding_cluster
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "raytune_ocr.tune", "--config", str(write_space(epochs=3))),
            *("--data", str(data), "--output-dir", str(hidden / "out"), "--address"),
            *(cluster.address, "--results-file", str(tmp_path / "r.json")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = []
    watchdog = threading.Timer(240, process.kill)  # a line that never comes ends the test
    watchdog.start()
    try:
        for line in process.stdout:
            said.append(line)
            if "waits for a node" in line:
                add_blind_node()
            if "no more trials start on this node" in line:
                cluster.add_node(num_cpus=1)
                break
        rest, _ = process.communicate(timeout=240)
    finally:
        watchdog.cancel()
        process.kill()
    output = "".join(said) + rest
    assert process.returncode == 0, output
    assert f"{hidden / 'out'}: node " in output and "cannot read or write it" in output
    assert output.count("no more trials start on this node") == 1
    document = json.loads((tmp_path / "r.json").read_text())
    assert {r["status"] for r in document["all_results"]} == {"completed"}
    assert not (hidden / "out" / ".probe").exists()
