"""Write, read and check the lines of the journal.

A line is a JSON object with its digest as the last key, so that damaged lines are detected. There
are four kinds:

- `run`: the run (format, id, times, options);
- `trial`: a trial's reports since its last line (`rows`, a row per epoch) and its status, with the
  `decisions` on the report;
- `decisions`: decisions that belong to no single report, and orders of users;
- any other single key: a fact, such as the winner's test metrics.

Format 1, of version 0.1, has no digests, and a different kind for each scheduler.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Any

from raytune_ocr.results.decision import CONTINUE, DECISIONS, EXPLOIT, ORDER, STOP
from raytune_ocr.results.document_check import integer

FORMAT = 2
TRIAL_KEYS = ("trial", "status", "rows")
MORE_TRIAL_KEYS = (
    *("fingerprint", "search", "sampled", "confirms", "config"),
    *("stop_reason", "error_message", "used", "made_with", "decisions"),
)
DECISION_KEYS = ("scheduler", "trial", "epoch", "decision", "state")
NEEDED_STATE = {
    EXPLOIT: ("parent", "replaces", "settings"),
    ORDER: ("action", "arguments", "who", "time", "id"),
}
TYPES: dict[str, Any] = {
    **dict.fromkeys(("trial", "status", "stop_reason", "error_message"), str),
    **dict.fromkeys(("fingerprint", "search", "timestamp", "results_file"), str),
    **dict.fromkeys(("id", "name", "scheduler", "decision", "parent", "replaces"), str),
    "confirms": str,
    **dict.fromkeys(("run", "sampled", "used", "figures", "settings", "state", "config"), dict),
    **dict.fromkeys(("made_with", "fingerprints", "arguments"), dict),
    **dict.fromkeys(("action", "who"), str),
    **dict.fromkeys(("rows", "warm_start", "refine", "decisions"), list),
    **dict.fromkeys(("epoch", "format"), int),
}
"""The type of each key, anywhere in a line."""
FACTS = {"test_split": ("trial", "figures"), "known": (), "data": ("fingerprints",)}
"""Required keys by kind of fact."""
OLD_DECISIONS = {
    "rung": ("trial", "epoch", "score", "stopped"),
    "median": ("trial", "epoch"),
    "halving": ("epoch", "ends", "left"),
    "generation": ("epoch", "heirs"),
}
"""Format 1: required keys by kind of decision."""
OLD_CLONE = ("name", "parent", "instead_of", "settings")
ROW = ("epoch", "seconds")
ROW_TYPES: dict[str, Any] = {"experiment_name": str, "epoch": int, "seconds": (int, float)}
NAMES = ("trial", "parent", "replaces", "name", "confirms", "experiment_name")
NAME = re.compile(r"[A-Za-z0-9](?!.*\.\.)[A-Za-z0-9._-]{0,199}")
"""Names of trials, which are folder names: as in a YAML, with room for a clone's suffix."""
DIGEST = b',"digest":"'


def write_line(entry: Mapping[str, Any]) -> bytes:
    """Return an entry as a line: NaN and infinities as null, the digest last."""
    text = json.dumps(finite(entry), ensure_ascii=False, allow_nan=False).encode()
    return text[:-1] + DIGEST + digest(text).encode() + b'"}\n'


def read_line(line: bytes) -> dict[str, Any]:
    """Return the entry of a line, in the present format.

    Raises:
        ValueError: the line is damaged, or not a journal's.
    """
    text, mark, rest = line.rstrip(b"\n").rpartition(DIGEST)
    if mark:
        text += b"}"
        if rest != f'{digest(text)}"}}'.encode():
            raise ValueError("the checksum does not match")
    else:
        text = line
    try:
        entry = json.loads(text, parse_int=integer)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    entry = upgraded(entry) if not mark else entry
    if not is_entry(entry):
        raise ValueError("not a journal's entry")
    return entry


def digest(text: bytes) -> str:
    """Return a short hash of a line."""
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def finite(value: Any) -> Any:
    """Return `value` with NaN and infinities as None, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def is_entry(entry: Any) -> bool:
    """Whether it has the keys and types that readers of a journal rely on."""
    if not isinstance(entry, dict) or not entry or not _holds(entry, ()):
        return False
    if not all(map(_is_decision, entry.get("decisions", []))):
        return False
    if "trial" in entry:
        return (
            _holds(entry, TRIAL_KEYS)
            and entry.keys()
            <= {*TRIAL_KEYS, *MORE_TRIAL_KEYS}  # else the key of its digest is damaged
            and entry["trial"] != ""
            and all(isinstance(row, dict) and _is_row(row) for row in entry["rows"])
            and all(isinstance(number, int) for number in entry.get("used", {}).values())
        )
    return len(entry) == 1 and all(
        _holds(entry, ()) if key == "decisions" else _is_fact(key, value)
        for key, value in entry.items()
    )


def _is_fact(kind: str, value: Any) -> bool:
    return isinstance(value, dict) and _holds(value, FACTS.get(kind, ()))


def _is_decision(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != set(DECISION_KEYS):
        return False
    if not _holds(value, ()):
        return False
    if value["decision"] not in DECISIONS:
        return False
    return _holds(value["state"], NEEDED_STATE.get(value["decision"], ()))


def _is_row(row: Mapping[str, Any]) -> bool:
    return all(name in row for name in ROW) and all(
        isinstance(value, ROW_TYPES.get(name, (int, float, NoneType)))
        for name, value in row.items()
    )


def _holds(entry: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Whether all `names` exist, all types are right, and names of trials are valid."""
    return all(name in entry for name in names) and all(
        isinstance(value, TYPES.get(name, object)) and (name not in NAMES or _is_name(value))
        for name, value in entry.items()
    )


def _is_name(value: Any) -> bool:
    """Whether it is a trial's name, or "" for none."""
    return value == "" or (isinstance(value, str) and NAME.fullmatch(value) is not None)


# Format 1


def upgraded(entry: Any) -> Any:
    """Return an entry of format 1 in the present format; other entries as they are."""
    if not isinstance(entry, dict) or len(entry) != 1:
        return entry
    ((kind, value),) = entry.items()
    if kind == "held_out":
        return {"test_split": value}
    needed = OLD_DECISIONS.get(kind)
    if needed is None:
        return entry
    if not isinstance(value, dict) or not all(name in value for name in needed):
        raise ValueError(f"a {kind} entry of format 1 must have {', '.join(needed)}")
    return {"decisions": _UPGRADES[kind](value)}


def _old(scheduler: str, trial: Any, epoch: Any, decision: str, **state: Any) -> dict[str, Any]:
    return dict(zip(DECISION_KEYS, (scheduler, trial, epoch, decision, state), strict=True))


def _rung(note: Mapping[str, Any]) -> list[dict[str, Any]]:
    action = STOP if note["stopped"] else CONTINUE
    return [_old("asha", note["trial"], note["epoch"], action, score=note["score"])]


def _median(note: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_old("median", note["trial"], note["epoch"], STOP)]


def _halving(note: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Convert a halving: one entry without a trial stands for the continuing trials."""
    left, epoch = note["left"], note["epoch"]
    names = note["ends"]
    if not isinstance(names, list) or not isinstance(left, int):
        raise ValueError("a halving entry of format 1 must have a list and an integer")
    stops = [_old("halving", name, epoch, STOP, left=left) for name in names]
    return [_old("halving", "", epoch, CONTINUE, left=left), *stops]


def _generation(note: Mapping[str, Any]) -> list[dict[str, Any]]:
    clones = note["heirs"]
    if not isinstance(clones, list) or not all(
        isinstance(clone, dict) and all(name in clone for name in OLD_CLONE) for clone in clones
    ):
        raise ValueError(f"a clone entry of format 1 must have {', '.join(OLD_CLONE)}")
    return [_old("pbt", "", note["epoch"], CONTINUE)] + [
        _old(
            "pbt",
            clone["name"],
            note["epoch"],
            EXPLOIT,
            parent=clone["parent"],
            replaces=clone["instead_of"],
            settings=clone["settings"],
        )
        for clone in clones
    ]


_UPGRADES = {
    "rung": _rung,
    "median": _median,
    "halving": _halving,
    "generation": _generation,
}
