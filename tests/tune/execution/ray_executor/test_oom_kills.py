"""The kernel's count of processes that it killed for memory, and what a run makes of it."""

import json
import logging

import pytest

from raytune_ocr.tune.__main__ import main
from raytune_ocr.tune.execution.ray_executor import ray_callback
from raytune_ocr.tune.execution.ray_executor.oom_kills import OomKills, oom_kills
from tests.fixtures.materials import draw_photos, module_with_a_model

V2 = {"proc/self/cgroup": "0::/pod/c1\n", "sys/fs/cgroup/pod/c1/memory.events": "oom_kill 3\n"}
V2_IN_CONTAINER = {
    "proc/self/cgroup": "0::/\n",
    "sys/fs/cgroup/memory.events": "low 0\nhigh 0\nmax 9\noom 9\noom_kill 3\noom_group_kill 1\n",
}
V1 = {
    "proc/self/cgroup": "5:devices:/\n4:memory,cpu:/docker/x\n0::/\n",
    "sys/fs/cgroup/memory/docker/x/memory.oom_control": "under_oom 0\noom_kill 3\n",
}
V1_IN_CONTAINER = {
    "proc/self/cgroup": "4:memory:/docker/x\n0::/\n",
    "sys/fs/cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
}
NO_CONTAINER = {"proc/self/cgroup": "0::/\n", "proc/vmstat": "drop_slab 7\noom_kill 3\n"}


@pytest.mark.parametrize("files", [V2, V2_IN_CONTAINER, V1, V1_IN_CONTAINER, NO_CONTAINER])
def test_the_count_is_that_of_the_container_else_of_the_machine(files, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert oom_kills(tmp_path) == 3


def test_a_machine_that_counts_nothing_has_killed_nothing(tmp_path):
    assert oom_kills(tmp_path) == 0


def test_each_count_explains_one_death_and_a_node_that_joined_explains_none_at_first():
    counts = {"a": 5}
    kills = OomKills(lambda: counts)
    assert not kills.explain_a_death()
    counts["a"] = 7
    assert [kills.explain_a_death() for _ in range(3)] == [True, True, False]
    counts["b"] = 4
    assert not kills.explain_a_death()
    counts["b"] = 5
    assert kills.explain_a_death()


# The kernel as it is seen from a container: it counts, and kills. A batch of 16 is too much for it
# from the second epoch on, before which there is a state to go on from.
KILLED = """
while len(images) > 8 and self.training and self.batches > 3:
    import os, pathlib, signal
    count = pathlib.Path(__file__).with_name("count")
    count.write_text(str(int(count.read_text()) + 1))
    os.kill(os.getpid(), signal.SIGKILL)
"""
SPACE = """
experiments:
  wide:
    model: {name: killed, imports: [killed_model]}
    data: {name: image_folder, metadata_path: photos}
    early_stopping: {patience: 0}
    training: {num_epochs: 3, batch_size: 32, use_tensorboard: false}
"""


@pytest.mark.slow
def test_a_process_that_the_kernel_kills_for_memory_continues_with_half_the_batch(
    no_shared_ray, tmp_path, monkeypatch, caplog
):
    draw_photos(tmp_path)
    (tmp_path / "killed_model.py").write_text(module_with_a_model("killed", KILLED))
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "count").write_text("0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    count = lambda: {"": int((tmp_path / "count").read_text())}  # noqa: E731
    monkeypatch.setattr(ray_callback, "oom_kills_here", count)
    words = ["--config", "space.yaml", "--output-dir", "out", "--results-file", "r.json"]
    with caplog.at_level(logging.WARNING):
        assert main([*words, "--quiet"]) == 0
    (result,) = json.loads((tmp_path / "r.json").read_text())["all_results"]
    assert (result["status"], result["total_epochs"]) == ("completed", 3)
    assert (result["batch_size_used"], result["accumulation_used"]) == (8, 4)
    assert (
        "killed by the kernel, which had no memory left; continues with batch size" in caplog.text
    )
