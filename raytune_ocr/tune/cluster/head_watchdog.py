"""Watch a cluster's head node.

Ray retries for many minutes before it reports that it cannot join, and if the head goes away later,
a thread of Ray ends this process after a minute without a message. This module notices both first.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from raytune_ocr.tune.cluster.ray_patches import bootstrap_address

CLIENT = "ray://"
ANSWER_SECONDS = 5.0
EVERY = 2.0  # seconds between two checks
PATIENCE = 40.0  # seconds without an answer; Ray ends the process after 60
RAYLET_PATIENCE = 8.0  # the raylet is on this machine, and a dead one does not return


def find(address: str) -> None:
    """Check that something answers at a cluster's address: HOST:PORT, ray://HOST:PORT or auto.

    Raises:
        ConnectionError: nothing answers, or `auto` finds no cluster.
        ValueError: not an address.
    """
    place: str | None = address.removeprefix(CLIENT).rstrip("/")
    if place == address:
        place = None if "://" in address else bootstrap_address(address)
    if place is not None and (why := problem(place)):
        raise ConnectionError(f"{why} ({place})" if address == "auto" else why)


def problem(place: str, seconds: float = ANSWER_SECONDS) -> str:
    """Return why HOST:PORT cannot be reached; "" if it can, or if the text has no port."""
    host, _, port = place.rpartition(":")
    if not port.isdecimal():
        return ""
    try:
        socket.create_connection((host.strip("[]"), int(port)), seconds).close()
    except (OSError, OverflowError) as error:  # OverflowError: not a port number
        return f"nothing answers there: {getattr(error, 'strerror', None) or error}"
    return ""


def raylet_address() -> str:
    """Return HOST:PORT of the manager (raylet) of this process's node; "" if Ray lists none."""
    import ray

    own = ray.get_runtime_context().get_node_id()
    ports = (
        f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
        for node in ray.nodes()
        if node["NodeID"] == own
    )
    return next(ports, "")


@contextmanager
def watched(
    place: str, gone: Callable[[str], None], patience: float | None = None
) -> Iterator[None]:
    """Call `gone`, once and from another thread, if nothing answers for `patience` seconds.

    Args:
        place: of the head or of a raylet, HOST:PORT.
        gone: takes the reason.
        patience: None: `PATIENCE`.
    """
    over, limit = threading.Event(), PATIENCE if patience is None else patience

    def watch() -> None:
        answered = time.monotonic()
        while not over.wait(EVERY):
            why = problem(place, EVERY)
            if not why:
                answered = time.monotonic()
            elif time.monotonic() - answered >= limit:
                gone(why)
                return

    thread = threading.Thread(target=watch, name="head", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
