"""What may go wrong around a run, done for real: other runs, full disks, lost nodes, no memory."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch

from raytune_ocr.config.training_config import TrainingConfig, with_half_the_batch
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.steering.run_lock import LOCK_FILE, RunLock
from raytune_ocr.tune import HyperparameterTuner
from raytune_ocr.tune.__main__ import main
from raytune_ocr.tune.execution.ray_executor.trainable import (
    is_out_of_memory,
    run_trial,
)
from raytune_ocr.tune.storage.mirror import newest_state
from tests.fixtures.materials import (
    allowed,
    draw_photos,
    module_with_a_model,
    wait_until,
    words_of,
)

HOLD = """
import sys
from pathlib import Path
from raytune_ocr.results.steering.run_lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_run_in_a_folder_is_refused_and_reported_whose_it_is(holder, tmp_path):
    with (
        pytest.raises(ConfigurationError, match=f"in use by process {holder.pid} of .* for 00:00"),
        RunLock(tmp_path),
    ):
        pass


@pytest.mark.parametrize(("hours", "message"), [(25, "25:00:0"), (-1, "00:00")])
def test_how_long_a_folder_is_in_use_is_reported_even_if_it_is_days(hours, message, tmp_path):
    with RunLock(tmp_path) as lock:
        owner = json.loads(lock.path.read_text())
        owner["since"] -= 3600 * hours  # of another host, whose clock may be ahead
        lock.path.write_text(json.dumps(owner))
        with pytest.raises(ConfigurationError, match=f"for {message}"), RunLock(tmp_path):
            pass


def test_a_killed_run_leaves_its_folder_free(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with RunLock(tmp_path):
        assert (tmp_path / LOCK_FILE).exists()
    assert not (tmp_path / LOCK_FILE).exists()


def test_a_lock_can_be_forced_and_the_old_owner_does_not_free_the_new_one(holder, tmp_path):
    with RunLock(tmp_path, force=True):
        holder.communicate("\n", timeout=20)  # ends in order
        with pytest.raises(ConfigurationError, match="in use by"), RunLock(tmp_path):
            pass


def test_the_command_line_refuses_a_folder_in_use(holder, write_space, data, tmp_path, capsys):
    words = ["--config", str(write_space()), "--data", str(data), "--output-dir", str(tmp_path)]
    assert main(words) == 2
    assert "--force-unlock" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_memory_that_ran_out_is_reported_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected


def test_half_the_batch_keeps_the_effective_one():
    config = with_half_the_batch(TrainingConfig(batch_size=48, gradient_accumulation_steps=2))
    assert (config.batch_size, config.gradient_accumulation_steps) == (24, 4)


GREEDY = """
if self.training and len(images) > 8:
    raise MemoryError("a batch of more than eight")
"""


def test_where_memory_runs_out_that_trial_alone_continues_with_half_the_batch(
    no_shared_ray, tmp_path, monkeypatch
):
    draw_photos(tmp_path)
    (tmp_path / "greedy_model.py").write_text(module_with_a_model("greedy", GREEDY))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    space = tmp_path / "space.yaml"
    space.write_text(
        """
common: &common
  model: {name: greedy, imports: [greedy_model]}
  data: {name: image_folder, metadata_path: photos}
experiments:
  wide: {<<: *common, training: {num_epochs: 2, batch_size: 32}}
  narrow: {<<: *common, training: {num_epochs: 2, batch_size: 8}}
"""
    )
    tuner = HyperparameterTuner(str(space), output_dir="out", results_file="r.json", quiet=True)
    document = tuner.run_experiments()
    results = {result["experiment_name"]: result for result in document["all_results"]}
    assert {result["status"] for result in results.values()} == {"completed"}
    assert (results["wide"]["batch_size_used"], results["wide"]["accumulation_used"]) == (8, 4)
    assert results["wide"]["hyperparameters"]["batch_size"] == 32
    assert "batch_size_used" not in results["narrow"]
    sys.modules.pop("greedy_model", None)


def test_a_damaged_state_of_a_trial_is_passed_over_for_the_one_before(tmp_path, data):
    from raytune_ocr.data import load_splits

    splits = load_splits(data)
    config = TrainingConfig(
        model_name="ctc_small",
        loss_type="ctc",
        num_epochs=3,
        batch_size=16,
        output_dir=str(tmp_path),
        experiment_name="t",
        use_tensorboard=False,
    )
    rows = []

    def keep(row, folder):
        rows.append(row)
        if folder:
            shutil.copytree(folder, tmp_path / "t" / f"checkpoint_{row['epoch']:06d}")

    run_trial(config, splits, keep)
    expected = rows[-1]
    for damage in (b"", None):
        newest = newest_state(tmp_path / "t")
        content = bytearray(newest.read_bytes())
        content[len(content) // 2] ^= 0xFF
        newest.write_bytes(content if damage is None else damage)
    state = newest_state(tmp_path / "t")
    assert state.parent.name == "checkpoint_000001"
    again = []
    run_trial(config, splits, lambda row, folder: again.append(row), resume_from=state)
    assert [row["epoch"] for row in again] == [1, 2, 3]
    assert again[-1]["val_loss"] == expected["val_loss"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a few megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system can be mounted only by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_a_clear_word_and_it_resumes(
    shared_ray, small_disk, write_space, data, tmp_path, capsys
):
    words = [
        *("--config", str(write_space(epochs=4)), "--data", str(data)),
        *("--output-dir", str(small_disk / "out"), "--results-file", str(tmp_path / "r.json")),
        *("--scheduler", "none", "--max-concurrent", "1"),
    ]
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"0" * 3_000_000)
    assert main(words) == 1
    output = capsys.readouterr().err
    assert "No space left on device" in output
    assert "--resume" in output
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    assert main([*words, "--resume"]) == 0
    document = json.loads((tmp_path / "r.json").read_text())
    assert {r["status"] for r in document["all_results"]} == {"completed"}
    epochs = pd.read_csv(small_disk / "out" / "epochs.csv")
    for _, rows in epochs.groupby("experiment_name"):
        assert list(rows["epoch"]) == [1, 2, 3, 4]


LONG_AND_SHORT = """
common: &common
  model: {{name: ctc_small}}
  scheduler: {{type: none}}
  early_stopping: {{patience: 0}}
experiments:
  short: {{<<: *common, training: {{num_epochs: 2, batch_size: 16, use_tensorboard: false}}}}
  long: {{<<: *common, training: {{num_epochs: 30, batch_size: 16, use_tensorboard: false}}}}
"""


@pytest.mark.slow
def test_lost_nodes_cost_nothing_that_was_reported(start_cluster, write_space, data, tmp_path):
    """A trial's node is drained, then killed twice, and the data goes away.

    That is once more than Ray tries again.
    """
    cluster = start_cluster(num_cpus=0)
    nodes = [cluster.add_node(num_cpus=1) for _ in range(4)]
    cluster.wait_for_nodes()
    output, images = tmp_path / "out", tmp_path / "images"
    shutil.copytree(data, images)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "raytune_ocr.tune", "--scheduler", "none"),
            *("--config", str(write_space(LONG_AND_SHORT)), "--data", str(images)),
            *("--output-dir", str(output), "--results-file", str(tmp_path / "r.json")),
            *("--address", cluster.address),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        begun = {"short": 2, "long": 3}
        wait_for(output, lambda e: all(len(e[name]) >= n for name, n in begun.items()), process)
        images.rename(tmp_path / "gone")  # a trial that starts elsewhere gets them from Ray
        drained = node_that_trains(nodes)
        drain(cluster.address, drained)
        wait_until(lambda: node_that_trains(nodes) is not drained, process)
        for _ in range(2):
            before = len(Journal(output).read().trials["long"].epochs)
            cluster.remove_node(node_that_trains(nodes), allow_graceful=False)
            wait_for(output, lambda e, before=before: len(e["long"]) >= before + 3, process)
        printed, _ = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 0, printed
    document = json.loads((tmp_path / "r.json").read_text())
    assert {r["status"] for r in document["all_results"]} == {"completed"}
    epochs = pd.read_csv(output / "epochs.csv").groupby("experiment_name")["epoch"]
    assert {name: list(rows) for name, rows in epochs} == {
        "short": [1, 2],
        "long": list(range(1, 31)),
    }
    log = (output / "short" / "logs" / "training.log").read_text().splitlines()
    assert len(log) == 2  # a finished trial is not run again
    assert printed.count("long: its node is being drained; it continues on another node") == 1
    assert printed.count("long: retrying after") == 2


def drain(address, node, seconds=600):
    """Tell Ray that a node will be taken away, as a watch of a spot machine does."""
    words = [
        *(Path(sys.executable).parent / "ray", "drain-node", "--address", address),
        *("--node-id", node.node_id, "--reason", "DRAIN_NODE_REASON_PREEMPTION"),
        *("--reason-message", "spot", "--deadline-remaining-seconds", str(seconds)),
    ]
    subprocess.run(words, check=True, capture_output=True)


def node_that_trains(nodes, seconds=20):
    """The node, of those that are alive, below whose raylet a trial runs."""
    until = time.monotonic() + allowed(seconds)
    while time.monotonic() < until:
        for node in nodes:
            raylets = node.all_processes.get("raylet", [])
            if raylets and raylets[0].process.poll() is None:
                family = psutil.Process(raylets[0].process.pid).children(recursive=True)
                if any("ImplicitFunc.train" in words_of(process) for process in family):
                    return node
    raise AssertionError("no node trains")


def wait_for(output: Path, holds, process):
    """Until the epochs by trial that the run has noted satisfy `holds`."""

    def reached():
        trials = Journal(output).read().trials
        return trials and holds({name: kept.epochs for name, kept in trials.items()})

    wait_until(reached, process)
