"""Detect an autoscaler, where Ray does not report which nodes it may add."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import psutil

NODE_GROUP = "ray.io/node-group"  # label of nodes that KubeRay or Ray's launcher starts
KUBERAY = ("RAY_CLUSTER_NAME", "KUBERAY_GEN_RAY_START_CMD")  # variables in all of its pods
CONFIG = "--autoscaling-config="  # of the process on a head that starts nodes


def may_be_there(nodes: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether a node's label or this machine shows an autoscaler.

    A job runs on the head, which has the autoscaler's process or its variables.

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
