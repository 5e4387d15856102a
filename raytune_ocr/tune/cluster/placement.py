"""Match the resources that a trial requests with those of nodes, without calling Ray.

A request has `cpu`, and may have `gpu` and `memory` (bytes); a node's resources have Ray's names.
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
MARGIN = 1e-9  # for rounding of fractions

Resources = Mapping[str, float]


def fits(request: Resources, node: Resources) -> bool:
    """Whether a node has all requested resources."""
    return all(node.get(KINDS[kind], 0) + MARGIN >= amount for kind, amount in request.items())


def places(request: Resources, nodes: Iterable[Resources]) -> int:
    """Return how many trials of that request fit on the nodes at the same time."""
    wanted = {KINDS[kind]: amount for kind, amount in request.items() if amount}
    room = [min(node.get(kind, 0) // n for kind, n in wanted.items()) for node in nodes if wanted]
    return int(sum(room))


def evened(memory: float, cpus: float, nodes: Sequence[Resources]) -> float:
    """Return `memory`, raised to 1 GiB if each of `nodes` has that much for `cpus` CPUs.

    Ray reuses a trial's process only for an equal request; a new process starts seconds later. So
    if memory is plentiful, all trials of small models request the same.
    """
    plenty = all(node["memory"] * cpus >= GIBIBYTE * node.get("CPU", 0) for node in nodes)
    return max(memory, GIBIBYTE) if plenty else memory


def problem(request: Resources, nodes: Sequence[Resources]) -> str:
    """Return why no node can ever run a trial, rule first; "" if one can."""
    gpus = request.get("gpu", 0)
    if gpus > 1 and gpus % 1:
        return f"--gpus-per-trial: must be a whole number or a fraction below 1, got {gpus:g}"
    if any(fits(request, node) for node in nodes):
        return ""
    for kind, wanted in request.items():
        most = max((node.get(KINDS[kind], 0) for node in nodes), default=0)
        if wanted > most + MARGIN:
            return (
                f"{FLAGS[kind]}: must be at most {amount(kind, most)}, the most that a node has, "
                f"got {wanted / (GIBIBYTE if kind == 'memory' else 1):g}"
            )
    return f"a trial requests {in_words(request)}: no single node has all of them"


def waits_for(request: Resources, up: Sequence[Resources], free: Sequence[Resources]) -> str:
    """Return what a pending trial waits for; "" if a node has it now.

    Args:
        up: resources of the nodes.
        free: free resources of the nodes.
    """
    if any(fits(request, node) for node in free):
        return ""
    if not any(fits(request, node) for node in up):
        return f"for a node with {in_words(request)} to join: no node has them"
    used = []
    for kind in request:
        there = sum(node.get(KINDS[kind], 0) for node in up)
        taken = there - sum(node.get(KINDS[kind], 0) for node in free)
        used.append(f"{taken / (GIBIBYTE if kind == 'memory' else 1):.3g} of {amount(kind, there)}")
    return f"for {in_words(request)} on one node: {', '.join(used)} are in use"


def in_words(request: Resources) -> str:
    """Return a request in words.

    >>> in_words({"cpu": 1, "gpu": 0.25})
    '1 CPU, 0.25 GPUs'
    """
    return ", ".join(amount(kind, value) for kind, value in request.items())


def amount(kind: str, value: float) -> str:
    """Return an amount with its unit."""
    number = f"{value / (GIBIBYTE if kind == 'memory' else 1):.3g}"
    unit = UNITS[kind]
    return f"{number} {unit.removesuffix('s') if number == '1' else unit}"


def node_types(path: Path = AUTOSCALING) -> list[dict[str, float]] | None:
    """Return the resources of nodes that an autoscaler may start; None if that is not known.

    Args:
        path: the launcher's file with the cloud's machine types.
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
