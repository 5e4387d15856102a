"""The kernel's out-of-memory killer: whether it ended a trial's process.

Ray says only that a process died. The kernel counts what it kills for memory, for each container
(cgroup) and for the machine; a count that is higher than before the process died tells the cause.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

ANSWER_SECONDS = 5.0
COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def oom_kills(root: Path = Path("/")) -> int:
    """Processes of this container that the kernel has killed for memory; of the machine if none.

    Args:
        root: of the file system, where `/proc` and `/sys` are.
    """
    for path in (*_of_container(root), root / "proc/vmstat"):
        try:
            found = COUNT.search(path.read_text(encoding="utf-8"))
        except OSError:
            continue
        if found:
            return int(found[1])
    return 0


def _of_container(root: Path) -> list[Path]:
    """Files that may hold the count: of this process's cgroup, then of what is mounted as all."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    files = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if "memory" in controllers.split(","):  # version 1
            folder, name = root / "sys/fs/cgroup/memory", "memory.oom_control"
        elif not controllers:
            folder, name = root / "sys/fs/cgroup", "memory.events"
        else:
            continue
        files += [folder / group.lstrip("/") / name, folder / name]
    return files


def oom_kills_here() -> dict[str, int]:
    """The count of this machine alone."""
    return {"": oom_kills()}


def oom_kills_by_node() -> dict[str, int]:
    """The count of each node of the cluster that answers soon, by its id."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    count = ray.remote(num_cpus=0, max_retries=0)(oom_kills)
    asked = {}
    for node in ray.nodes():
        if node["Alive"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked[count.options(scheduling_strategy=there).remote()] = node["NodeID"]
    answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_SECONDS)
    counts = {}
    for answer in answered:
        try:
            counts[asked[answer]] = ray.get(answer)
        except RayError:  # the node went away meanwhile
            continue
    return counts


class OomKills:
    """The counts of all nodes, compared each time that a process died.

    Args:
        ask: returns the count of each node.
    """

    def __init__(self, ask: Callable[[], Mapping[str, int]]) -> None:
        self._ask = ask
        self._seen = dict(ask())

    def explain_a_death(self) -> bool:
        """Whether a node counts one more than before; each count explains one death.

        A node that joined since then explains none at first: what it counted before is not known.
        """
        for node, count in self._ask().items():
            if count > self._seen.setdefault(node, count):
                self._seen[node] += 1
                return True
        return False
