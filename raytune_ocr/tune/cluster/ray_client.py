"""Support Ray Client (`ray://HOST:PORT`) with the driver in this process.

Ray Tune would run its controller in a task on the head node, without access to this run's records,
files and signals. The controller depends on its node in two calls: whether a client is connected,
and the folder of the session's files. This module answers both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from raytune_ocr.tune.cluster.ray_patches import session_folder_of_train, standing_in

RECONNECT_SECONDS = "15"  # trials of a killed driver continue for so long


def is_client() -> bool:
    """Whether this process is connected by Ray Client."""
    from ray.util.client import num_connected_contexts

    return bool(num_connected_contexts() > 0)


@contextmanager
def controller_here() -> Iterator[None]:
    """Run Ray Tune's controller in this process, also with Ray Client."""
    from ray.util.client import ray

    if not is_client():
        yield
        return
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="raytune_ocr_"))
        stack.enter_context(standing_in(ray, "is_connected", lambda: False))
        stack.enter_context(session_folder_of_train(folder))
        yield
