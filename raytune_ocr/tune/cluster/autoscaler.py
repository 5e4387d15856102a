"""Signs that an autoscaler may add nodes to a cluster, where Ray does not tell which ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import psutil

NODE_GROUP = "ray.io/node-group"  # label of nodes that KubeRay or Ray's launcher has started
KUBERAY = ("RAY_CLUSTER_NAME", "KUBERAY_GEN_RAY_START_CMD")  # variables in all of its pods
CONFIG = "--autoscaling-config="  # of the process on a head that starts nodes


def may_be_there(nodes: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether anything tells of an autoscaler: a label of a node, or this machine.

    A job runs on the head, where the autoscaler or its variables are seen.

    Args:
        nodes: as `ray.nodes()` gives them.
    """
    labelled = any(NODE_GROUP in (node.get("Labels") or {}) for node in nodes)
    return labelled or any(name in os.environ for name in KUBERAY) or _runs_here()


def _runs_here() -> bool:
    processes = psutil.process_iter(["cmdline"])
    return any(
        word.startswith(CONFIG) for process in processes for word in process.info["cmdline"] or ()
    )
