"""What a journal says, line after line: the run, its trials, its decisions, its facts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raytune_ocr.results.decision import Decision
from raytune_ocr.results.record import FINISHED

SETTINGS = ("fingerprint", "search", "sampled", "confirms", "config")  # in a trial's first line


@dataclass
class TrialState:
    """What the journal holds of one trial; the names are those of `TrialRecord`."""

    fingerprint: str = ""
    status: str = "pending"
    stop_reason: str = ""
    error_message: str = ""
    epochs: list[dict[str, Any]] = field(default_factory=list)
    used: dict[str, int] = field(default_factory=dict)
    search: str = ""
    sampled: dict[str, Any] = field(default_factory=dict)
    confirms: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    made_with: dict[str, Any] = field(default_factory=dict)

    @property
    def is_finished(self) -> bool:
        """Whether it completed, failed or was stopped."""
        return self.status in FINISHED

    @property
    def has_work(self) -> bool:
        """Whether something would be lost with it: an epoch, or its end."""
        return bool(self.epochs) or self.status == "completed"

    def apply(self, entry: Mapping[str, Any]) -> None:
        """Take in a line; an epoch that was trained again replaces its earlier row."""
        for row in entry["rows"]:
            while self.epochs and self.epochs[-1]["epoch"] >= row["epoch"]:
                self.epochs.pop()
            self.epochs.append({k: math.nan if v is None else v for k, v in row.items()})
        for name in (*SETTINGS, "status", "stop_reason", "error_message", "used", "made_with"):
            setattr(self, name, entry.get(name, getattr(self, name)))


@dataclass
class Replay:
    """What a journal says.

    Attributes:
        about: the run: `format`, `id`, `timestamp`, `results_file`, its options.
        trials: by name.
        decisions: in order.
        facts: by kind, in order.
        damaged: lines that cannot be read, by number from 1.
    """

    about: dict[str, Any] = field(default_factory=dict)
    trials: dict[str, TrialState] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    facts: dict[str, list[Any]] = field(default_factory=dict)
    damaged: dict[int, bytes] = field(default_factory=dict)

    def apply(self, entry: Mapping[str, Any]) -> None:
        """Take in an entry."""
        self.decisions += [Decision(**decision) for decision in entry.get("decisions", [])]
        if "trial" in entry:
            self.trials.setdefault(entry["trial"], TrialState()).apply(entry)
        elif "run" in entry:
            self.about = entry["run"]
        else:
            for kind, value in entry.items():
                if kind != "decisions":
                    self.facts.setdefault(kind, []).append(value)
