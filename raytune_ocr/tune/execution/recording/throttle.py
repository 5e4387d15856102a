"""Limit work that grows with a run to a share of its time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Throttle:
    """Decides when to repeat a piece of work: the longer it took, the later.

    Args:
        share: of the time that the work may take, from 0 to 1.
        seconds: the shortest time between two repeats.
    """

    def __init__(self, share: float = 0.05, seconds: float = 0.0) -> None:
        self.share = share
        self.seconds = seconds
        self._next = -math.inf

    def ready(self) -> bool:
        """Whether the work may be done now."""
        return time.monotonic() >= self._next

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure the work inside the `with` block."""
        started = time.monotonic()
        try:
            yield
        finally:
            now = time.monotonic()
            self._next = now + max((now - started) * (1 / self.share - 1), self.seconds)
