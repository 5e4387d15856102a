"""Orders of a user to a run: stop, pause, extend or add a trial, change a limit, write a note.

An order comes from another process, so `parse_order` checks everything in it. One that was carried
out is an entry of the journal, among the decisions of the scheduler.
"""

from __future__ import annotations

import getpass
import os
import re
import secrets
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from raytune_ocr.config.rules import (
    NAME_PATTERN,
    NOT_NEGATIVE,
    POSITIVE,
    TEXT,
    Rule,
    integer,
    is_plain,
    is_text,
)
from raytune_ocr.errors import ConfigurationError, unknown_name
from raytune_ocr.results.decision import ORDER, Decision

USER = "user"
"""The `scheduler` of an order's entry in the journal, and the stop reason of a trial it stopped."""
LONGEST_TEXT = 10_000  # letters of a note
HIGHEST_PRIORITY = 1000
TIMEOUT = 10.0  # seconds to wait for an answer

STOP_TRIAL, PAUSE_TRIAL, RESUME, EXTEND = "stop", "pause", "resume", "extend"
ADD, CLONE, PRIORITY, BUDGET, NOTE, TAG = "add", "clone", "priority", "budget", "note", "tag"

VALUES = Rule(dict, "a mapping of plain values", {"type": "object"}, is_plain)
TEXT_OF_NOTE = Rule(
    str,
    f"text of 1 to {LONGEST_TEXT} letters",
    {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT},
    lambda v: bool(v.strip()) and len(v) <= LONGEST_TEXT and is_text(v),
)
TAG_NAME = Rule(
    str,
    "a tag: 1 to 50 letters, digits, or any of . _ - : /",
    {"type": "string", "pattern": r"^[\w.:/-]{1,50}$"},
    lambda v: re.fullmatch(r"[\w.:/-]{1,50}", v) is not None,
)
NAME = Rule(
    str,
    "a name of letters, digits, '.', '_' and '-', at most 100",
    {"type": "string", "pattern": f"^{NAME_PATTERN}$"},
    lambda v: re.fullmatch(NAME_PATTERN, v) is not None and ".." not in v,
)
TRIAL_NAME = Rule(
    str,
    "the name of a trial",
    {"type": "string"},
    lambda v: re.fullmatch(r"[A-Za-z0-9](?!.*\.\.)[A-Za-z0-9._-]{0,199}", v) is not None,
)
FLAG = Rule(bool, "true or false", {"type": "boolean"})


class Action(NamedTuple):
    """What an order of one kind consists of.

    Attributes:
        purpose: in words.
        trial: whether it names a trial: "required", "optional" (without one it is for the run), or
            "" for never.
        required: its arguments, with their rules.
        optional: arguments that may be absent.
    """

    purpose: str
    trial: str
    required: Mapping[str, Rule] = {}
    optional: Mapping[str, Rule] = {}


ACTIONS: dict[str, Action] = {
    STOP_TRIAL: Action("end a trial, or without a trial the whole run", "optional"),
    PAUSE_TRIAL: Action("free a trial's resources until it is resumed", "required"),
    RESUME: Action("continue a trial that an order paused", "required"),
    EXTEND: Action("train a trial up to another last epoch", "required", {"epochs": integer(1)}),
    ADD: Action("add a trial", "required", {}, {"preset": VALUES, "set": VALUES}),
    CLONE: Action(
        "add a trial with a trial's settings, some changed",
        "required",
        {"set": VALUES},
        {"name": NAME},
    ),
    PRIORITY: Action(
        "start a waiting trial before or after others",
        "required",
        {"priority": integer(-HIGHEST_PRIORITY, HIGHEST_PRIORITY)},
    ),
    BUDGET: Action(
        "change the limits of the run",
        "",
        {},
        {"epochs": integer(1), "seconds": POSITIVE, "cost": NOT_NEGATIVE},
    ),
    NOTE: Action("write a note on a trial or the run", "optional", {"text": TEXT_OF_NOTE}),
    TAG: Action("tag a trial or the run", "optional", {"tag": TAG_NAME}, {"remove": FLAG}),
}
ANNOTATIONS = (NOTE, TAG)
"""Orders that change no trial: they are accepted also while no process runs the run."""


@dataclass(frozen=True)
class Order:
    """One order to a run.

    Attributes:
        action: a key of `ACTIONS`.
        trial: its trial; with `add` the new one; None: the whole run.
        arguments: by name, as `ACTIONS` declares them.
        who: the user who gave it, in words.
        time: when, in seconds since 1970.
        id: unique.
    """

    action: str
    trial: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    who: str = ""
    time: float = 0.0
    id: str = ""

    def __str__(self) -> str:
        values = (f"{name}={value}" for name, value in self.arguments.items())
        return " ".join([self.action, *([self.trial] if self.trial else []), *values])


@dataclass(frozen=True)
class Answer:
    """The answer of the process that runs a run to an order.

    Attributes:
        accepted: whether the order is in the journal, or waits for the next `--resume`.
        reason: why not, or what happened.
    """

    accepted: bool
    reason: str = ""


def new_order(action: str, trial: str | None = None, who: str = "", **arguments: Any) -> Order:
    """Return an order given now; `who` is by default the user of this process.

    Raises:
        ConfigurationError: an argument breaks its rule.
    """
    return parse_order(
        {
            "action": action,
            "trial": trial,
            "arguments": arguments,
            "who": who or _user(),
            "time": time.time(),
            "id": secrets.token_hex(8),
        }
    )


def parse_order(content: Any) -> Order:
    """Return the order that a mapping describes.

    Raises:
        ConfigurationError: a key is unknown or missing, or a value breaks its rule.
    """
    if not isinstance(content, Mapping):
        raise ConfigurationError("order: must be a mapping")
    known = ("action", "trial", "arguments", "who", "time", "id")
    for name in content:
        if name not in known:
            raise ConfigurationError(f"order: {unknown_name('key', name, known)}")
    name = content.get("action")
    if not isinstance(name, str) or name not in ACTIONS:
        raise ConfigurationError(f"order: {unknown_name('action', name, ACTIONS)}")
    action = ACTIONS[name]
    return Order(
        name,
        _trial(name, action.trial, content.get("trial")),
        _arguments(name, action, content.get("arguments", {})),
        TEXT.read(content.get("who"), f"{name}: who")[:200],
        NOT_NEGATIVE.read(content.get("time"), f"{name}: time"),
        _id(content.get("id")),
    )


def _trial(action: str, needed: str, trial: Any) -> str | None:
    if trial is None and needed != "required":
        return None
    if trial is not None and not needed:
        raise ConfigurationError(f"{action}: is for the whole run, not for a trial, got {trial!r}")
    read: str = (NAME if action == ADD else TRIAL_NAME).read(trial, f"{action}: trial")
    return read


def _arguments(name: str, action: Action, given: Any) -> dict[str, Any]:
    given = VALUES.read(given, f"{name}: arguments")
    rules = {**action.required, **action.optional}
    for argument in given:
        if argument not in rules:
            raise ConfigurationError(f"{name}: {unknown_name('argument', argument, rules)}")
    for argument in action.required:
        if argument not in given:
            raise ConfigurationError(f"{name}: {argument} is required")
    if action.optional and not (action.required or given):
        raise ConfigurationError(f"{name}: needs one or more of {', '.join(action.optional)}")
    return {key: rules[key].read(value, f"{name}: {key}") for key, value in given.items()}


def _id(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{16}", value):
        raise ConfigurationError("order: id: must be 16 hexadecimal digits")
    return value


def _user() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


# In the journal

STATE = ("action", "arguments", "who", "time", "id")


def entry_of(order: Order, epoch: int = 0, **more: Any) -> Decision:
    """Return the journal's entry of an order on a trial with `epoch` epochs.

    Args:
        **more: values that a replay needs besides the order.
    """
    state = asdict(order)
    return Decision(USER, state.pop("trial") or "", epoch, ORDER, {**state, **more})


def order_of(entry: Decision) -> Order:
    """Return the order of an entry of the journal.

    Raises:
        ConfigurationError: the entry is not one that an accepted order has written.
    """
    content = {name: entry.state[name] for name in STATE if name in entry.state}
    return parse_order({**content, "trial": entry.trial or None})


def orders_of(decisions: Iterable[Decision]) -> list[Order]:
    """Return the orders among the decisions of a journal, in order."""
    return [order_of(each) for each in decisions if each.decision == ORDER]
