"""Ray Client (`ray://HOST:PORT`): the driver stays in this process, what it asks Ray for travels.

Ray Tune would run its controller in a task on the head instead, where it could reach neither this
run's records and files nor its signals. What ties it to a node of its own is little: it asks if
there is a client, and where its node keeps a session's files. Both are answered here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from raytune_ocr.tune.cluster.ray_patches import standing_in

RECONNECT_SECONDS = "15"  # trials of a killed driver go on for as long, unless told otherwise


def is_client() -> bool:
    """Whether this process speaks to Ray through a client."""
    from ray.util.client import num_connected_contexts

    return bool(num_connected_contexts() > 0)


@contextmanager
def controller_here() -> Iterator[None]:
    """Ray Tune's controller runs in this process inside, whatever it is connected by."""
    from ray.train._internal import storage
    from ray.util.client import ray

    if not is_client():
        yield
        return
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="raytune_ocr_"))
        stack.enter_context(standing_in(ray, "is_connected", lambda: False))
        stack.enter_context(standing_in(storage, "_get_ray_train_session_dir", lambda: folder))
        yield
