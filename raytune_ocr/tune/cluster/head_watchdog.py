"""A cluster's head node: whether it is there.

Where it is not, Ray tries again for many minutes before it says that it cannot join; and where it
goes away, Ray ends this process after a minute, from a thread of its own and with no word to
whoever started it. So both are noticed here first.
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
EVERY = 2.0  # seconds between two looks
PATIENCE = 40.0  # seconds that it may be away, of the 60 after which Ray ends the process


def find(address: str) -> None:
    """Look whether anything answers at a cluster's address: HOST:PORT, ray://HOST:PORT or auto.

    Raises:
        ConnectionError: nothing does, or `auto` finds no cluster.
        ValueError: it is no address.
    """
    place: str | None = address.removeprefix(CLIENT).rstrip("/")
    if place == address:
        place = None if "://" in address else bootstrap_address(address)
    if place is not None and (why := problem(place)):
        raise ConnectionError(f"{why} ({place})" if address == "auto" else why)


def problem(place: str, seconds: float = ANSWER_SECONDS) -> str:
    """Why nothing can be reached at HOST:PORT; "" where something can, or it is no such text."""
    host, _, port = place.rpartition(":")
    if not port.isdecimal():
        return ""
    try:
        socket.create_connection((host.strip("[]"), int(port)), seconds).close()
    except (OSError, OverflowError) as error:  # OverflowError: no port has such a number
        return f"nothing answers there: {getattr(error, 'strerror', None) or error}"
    return ""


@contextmanager
def watched(place: str, gone: Callable[[str], None]) -> Iterator[None]:
    """Have `gone` called, once and from another thread, if nothing answers for `PATIENCE` seconds.

    Args:
        place: of the head, HOST:PORT.
        gone: is told why.
    """
    over = threading.Event()

    def watch() -> None:
        answered = time.monotonic()
        while not over.wait(EVERY):
            why = problem(place, EVERY)  # which takes as long where nothing refuses either
            if not why:
                answered = time.monotonic()
            elif time.monotonic() - answered >= PATIENCE:
                gone(why)
                return

    thread = threading.Thread(target=watch, name="head", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
