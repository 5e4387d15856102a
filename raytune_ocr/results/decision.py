"""A decision about a trial, of a scheduler or a user, as the journal stores it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CONTINUE, PAUSE, STOP = "CONTINUE", "PAUSE", "STOP"
START = "START"
"""A new trial begins, or a paused one continues."""
EXPLOIT = "EXPLOIT"
"""A new trial starts from another one's state, with other settings."""
ORDER = "ORDER"
"""An order of a user; `state` has its action, arguments, who, time and id."""
DECISIONS = (CONTINUE, PAUSE, STOP, START, EXPLOIT, ORDER)


@dataclass(frozen=True)
class Decision:
    """One decision about one trial.

    Attributes:
        scheduler: the name of the scheduler that made it; `user` for an order.
        trial: the trial; with EXPLOIT the new one.
        epoch: the number of epochs after which it was made.
        decision: one of `DECISIONS`.
        state: values that the scheduler's later decisions depend on, as JSON types. With EXPLOIT
            also `parent` (the copied trial), `replaces` (the replaced trial) and `settings` (from
            `epoch` on).
    """

    scheduler: str
    trial: str
    epoch: int
    decision: str
    state: Mapping[str, Any] = field(default_factory=dict)
