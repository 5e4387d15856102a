"""Real Rays with a short private folder: one that a session's tests share, and clusters.

A process can be joined to one Ray at a time, and starting one takes seconds.
"""

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, redirect_stdout
from pathlib import Path

import pytest

from raytune_ocr.data import SyntheticComposer, generate_dataset
from raytune_ocr.tune.__main__ import main
from raytune_ocr.tune.cluster import Cluster
from raytune_ocr.tune.state import RunState

TINY = """
experiments:
  first:
    model: {{name: ctc_small}}
    training: {{num_epochs: {epochs}, batch_size: 16, use_tensorboard: false}}
    scheduler: {{type: none}}
  second:
    model: {{name: small}}
    training: {{num_epochs: {epochs}, batch_size: 16, use_tensorboard: false}}
    scheduler: {{type: none}}
targets: {{character_accuracy: 0.85}}
"""

CONFIRMED = """
experiments:
  first:
    model: {name: small}
    training: {num_epochs: 2, batch_size: 16}
    scheduler: {type: none}
  second:
    model: {name: ctc_small}
    training: {num_epochs: 2, batch_size: 16}
    scheduler: {type: none}
  third:
    model: {name: small}
    training: {num_epochs: 1, batch_size: 96, learning_rate: 1e-6}
    scheduler: {type: none, min_lr: 0}
"""

POPULATION = """
tuning: {{scheduler: pbt, grace_period: 2, num_samples: 4}}
experiments:
  found:
    model: {{name: ctc_small}}
    training:
      num_epochs: {epochs}
      batch_size: 16
      use_tensorboard: false
      learning_rate: {{loguniform: [1e-4, 1e-2]}}
    scheduler: {{type: cosine}}
    early_stopping: {{monitor: val_loss, patience: 0}}
"""


@pytest.fixture(scope="session", autouse=True)
def ray_folder():
    """Ray's sockets need a short path."""
    folder = tempfile.mkdtemp(prefix="rt", dir="/tmp")
    before = os.environ.get("RAY_TMPDIR")
    os.environ["RAY_TMPDIR"] = folder
    yield folder
    if before is None:
        del os.environ["RAY_TMPDIR"]
    else:
        os.environ["RAY_TMPDIR"] = before
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def join_shared_ray(ray_folder):
    """Joins this process to the session's Ray; starts it if it is not up."""
    with ExitStack() as until_the_end:

        def join():
            import ray

            if not ray.is_initialized():
                until_the_end.enter_context(Cluster(None, Path(ray_folder)).running())

        yield join


@pytest.fixture
def shared_ray(join_shared_ray):
    """Runs inside this process use the session's Ray, as they use one that is the user's."""
    join_shared_ray()


@pytest.fixture
def no_shared_ray():
    """Runs inside this process start or join a Ray of their own."""
    import ray

    ray.shutdown()


@pytest.fixture
def start_cluster(no_shared_ray):
    """Starts a cluster of a head alone, to which nodes can be added."""
    from ray.cluster_utils import Cluster

    with ExitStack() as up:

        def start(**head):
            arguments = {"include_dashboard": False, **head}
            cluster = Cluster(initialize_head=True, head_node_args=arguments)
            up.callback(cluster.shutdown)
            return cluster

        yield start


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    generate_dataset(folder, sizes={"train": 96, "val": 32, "test": 8}, seed=3)
    return folder


@pytest.fixture
def write_space(tmp_path):
    def write(text=TINY, **values):
        path = tmp_path / "space.yaml"
        path.write_text(text.format(**{"epochs": 3, **values}), encoding="utf-8")
        return path

    return write


@pytest.fixture
def labelled_folder(tmp_path):
    """A user's own PNGs with a labels.csv."""
    from PIL import Image

    folder = tmp_path / "mine"
    folder.mkdir()
    images, texts = SyntheticComposer(seed=9).batch(60)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label"])
        for number, (image, text) in enumerate(zip(images, texts, strict=True)):
            Image.fromarray(image).save(folder / f"{number}.png")
            writer.writerow([f"{number}.png", text])
    return folder


@pytest.fixture(scope="session")
def finished_run(data, join_shared_ray, tmp_path_factory):
    """The folder of a run of two presets that MLflow heard of, and what it printed."""
    output = tmp_path_factory.mktemp("finished") / "out"
    space = output.with_name("space.yaml")
    space.write_text(TINY.format(epochs=3))
    words = ["--config", str(space), "--data", str(data), "--output-dir", str(output)]
    words += ["--results-file", f"{output}.json", "--track", "mlflow"]
    join_shared_ray()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert main(words) == 0
    return output, printed.getvalue()


@pytest.fixture(scope="session")
def stored_population(data, join_shared_ray, tmp_path_factory):
    """The folder of a population that was kept in a storage too; Weights & Biases heard of it."""
    output = tmp_path_factory.mktemp("population") / "out"
    space = output.with_name("space.yaml")
    space.write_text(POPULATION.format(epochs=3))
    words = ["--config", str(space), "--data", str(data), "--output-dir", str(output), "--quiet"]
    words += ["--results-file", f"{output}.json", "--track", "wandb"]
    join_shared_ray()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        assert main([*words, "--storage", f"file://{output.parent}/bucket/run"]) == 0
    return output


def _confirming(output, data):
    space = output.with_name("space.yaml")
    space.write_text(CONFIRMED)
    return [
        *("--config", str(space), "--data", str(data), "--output-dir", str(output)),
        *("--results-file", f"{output}.json", "--scheduler", "asha", "--grace-period", "1"),
        # One after another, so that ASHA always stops the second: CTC begins with blanks.
        *("--max-concurrent", "1"),
        *("--confirm", "2", "--confirm-seeds", "2"),
    ]


@pytest.fixture(scope="session")
def confirmed_run(data, join_shared_ray, tmp_path_factory):
    """The folder of a real run that was killed while it confirmed, and went on.

    The second command line does not say again how many to confirm: that is the run's own.
    """
    output = tmp_path_factory.mktemp("confirmed") / "out"
    arguments = _confirming(output, data)
    process = subprocess.Popen([sys.executable, "-m", "raytune_ocr.tune", *arguments])
    until = time.monotonic() + 600
    while "-seed" not in "".join(RunState(output).read().trials) and time.monotonic() < until:
        assert process.poll() is None, "it ended before it confirmed"
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    log = output / "first" / "logs" / "training.log"
    before = log.read_text()
    join_shared_ray()
    assert main([*arguments[: arguments.index("--confirm")], "--resume", "--quiet"]) == 0
    assert log.read_text() == before, "a trial of the search was run again"
    return output
