"""The orders in a journal, and the notes and tags that they wrote."""

from __future__ import annotations

import datetime
from typing import Any

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.decision import Decision
from raytune_ocr.results.steering.orders import NOTE, TAG, Order, order_of

MOST = 200  # orders that the page lists


class Annotations:
    """The notes and tags of trials, and all orders; "" stands for the run."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self._notes: dict[str, list[str]] = {}
        self._tags: dict[str, dict[str, None]] = {}

    def note(self, decision: Decision) -> None:
        """Take an order in; one that cannot be read is skipped."""
        try:
            order = order_of(decision)
        except ConfigurationError:
            return
        self.orders.append(order)
        name = order.trial or ""
        if order.action == NOTE:
            self._notes.setdefault(name, []).append(order.arguments["text"])
        if order.action == TAG:
            tags = self._tags.setdefault(name, {})
            tags.pop(order.arguments["tag"], None)
            if not order.arguments.get("remove"):
                tags[order.arguments["tag"]] = None

    def notes_of(self, name: str) -> str:
        """Return the notes on a trial."""
        return "; ".join(self._notes.get(name, ()))

    def tags_of(self, name: str) -> str:
        """Return the tags of a trial."""
        return " ".join(self._tags.get(name, ()))

    def listed(self) -> list[dict[str, Any]]:
        """Return the latest orders, the newest first: `when` (UTC), `who`, `order`."""
        return [
            {"when": _time(order.time), "who": order.who, "order": str(order)}
            for order in reversed(self.orders[-MOST:])
        ]


def _time(seconds: float) -> str:
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    except (OverflowError, OSError, ValueError):
        return ""
    return f"{moment:%Y-%m-%d %H:%M:%S}"
