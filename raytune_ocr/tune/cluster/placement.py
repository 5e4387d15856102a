"""What a trial asks of a node, what nodes have, and what a trial waits for. Nothing here asks Ray.

A request has `cpu`, and may have `gpu` and `memory` (bytes); a node's resources are named as Ray
names them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from raytune_ocr.config.yaml_files import load_yaml

KINDS = {"cpu": "CPU", "gpu": "GPU", "memory": "memory"}
FLAGS = {"cpu": "--cpus-per-trial", "gpu": "--gpus-per-trial", "memory": "resources: memory"}
UNITS = {"cpu": "CPUs", "gpu": "GPUs", "memory": "GiB of memory"}
AUTOSCALING = Path("~/ray_bootstrap_config.yaml")  # where Ray's launcher puts it on a head
GIBIBYTE = 2**30
MARGIN = 1e-9  # of fractions that do not add up

Resources = Mapping[str, float]


def fits(request: Resources, node: Resources) -> bool:
    """Whether a node has all that is asked for."""
    return all(node.get(KINDS[kind], 0) + MARGIN >= amount for kind, amount in request.items())


def places(request: Resources, nodes: Iterable[Resources]) -> int:
    """Trials of that request that nodes have room for at a time."""
    wanted = {KINDS[kind]: amount for kind, amount in request.items() if amount}
    room = [min(node.get(kind, 0) // n for kind, n in wanted.items()) for node in nodes if wanted]
    return int(sum(room))


def evened(memory: float, cpus: float, nodes: Sequence[Resources]) -> float:
    """`memory`, or 1 GiB where that is more and each of `nodes` has as much for so many CPUs.

    Ray starts a trial in the process of one that ended only if both asked for the same; in a new
    one it begins seconds later. So where memory is plenty, all trials of small models ask alike.
    """
    plenty = all(node["memory"] * cpus >= GIBIBYTE * node.get("CPU", 0) for node in nodes)
    return max(memory, GIBIBYTE) if plenty else memory


def problem(request: Resources, nodes: Sequence[Resources]) -> str:
    """Why no node will ever run a trial, rule first; "" when one can."""
    gpus = request.get("gpu", 0)
    if gpus > 1 and gpus % 1:
        return f"--gpus-per-trial: must be a whole number or a part of one GPU, got {gpus:g}"
    if any(fits(request, node) for node in nodes):
        return ""
    for kind, wanted in request.items():
        most = max((node.get(KINDS[kind], 0) for node in nodes), default=0)
        if wanted > most + MARGIN:
            return (
                f"{FLAGS[kind]}: must be at most the {amount(kind, most)} that a node has, "
                f"got {wanted / (GIBIBYTE if kind == 'memory' else 1):g}"
            )
    return f"a trial asks for {told(request)}: no single node has them together"


def waits_for(request: Resources, up: Sequence[Resources], free: Sequence[Resources]) -> str:
    """What a pending trial waits for; "" when a node has it at this moment.

    Args:
        up: what nodes have.
        free: what of it nobody uses.
    """
    if any(fits(request, node) for node in free):
        return ""
    if not any(fits(request, node) for node in up):
        return f"for a node with {told(request)} to join: none that is up has them"
    used = []
    for kind in request:
        there = sum(node.get(KINDS[kind], 0) for node in up)
        taken = there - sum(node.get(KINDS[kind], 0) for node in free)
        used.append(f"{taken / (GIBIBYTE if kind == 'memory' else 1):.3g} of {amount(kind, there)}")
    return f"for {told(request)} on one node: {', '.join(used)} are in use"


def told(request: Resources) -> str:
    """A request in words.

    >>> told({"cpu": 1, "gpu": 0.25})
    '1 CPUs, 0.25 GPUs'
    """
    return ", ".join(amount(kind, value) for kind, value in request.items())


def amount(kind: str, value: float) -> str:
    """So much of a kind, in words."""
    return f"{value / (GIBIBYTE if kind == 'memory' else 1):.3g} {UNITS[kind]}"


def node_types(path: Path = AUTOSCALING) -> list[dict[str, float]] | None:
    """What nodes that an autoscaler may start have; None when that is not known.

    Args:
        path: the launcher's file, which it fills in from the cloud's list of machines.
    """
    try:
        content = load_yaml(path.expanduser())
        types = content["available_node_types"].values()
        found = [_numbers(t["resources"]) for t in types if t.get("max_workers", 1) > 0]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if all(found) else None


def _numbers(resources: Mapping[str, Any]) -> dict[str, float]:
    return {kind: float(value) for kind, value in resources.items()}
