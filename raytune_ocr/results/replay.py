"""The content of a journal: the run, its trials, decisions and facts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raytune_ocr.results.decision import Decision
from raytune_ocr.results.record import TrialOutcome

SETTINGS = ("fingerprint", "search", "sampled", "confirms", "config")  # in a trial's first line


@dataclass
class TrialState(TrialOutcome):
    """One trial in the journal: its outcome, config and the config's fingerprint."""

    fingerprint: str = ""
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def has_work(self) -> bool:
        """Whether it has an epoch or has completed."""
        return bool(self.epochs) or self.status == "completed"

    def apply(self, entry: Mapping[str, Any]) -> None:
        """Apply a line; an epoch that was trained again replaces its earlier row."""
        for row in entry["rows"]:
            while self.epochs and self.epochs[-1]["epoch"] >= row["epoch"]:
                self.epochs.pop()
            self.epochs.append({k: math.nan if v is None else v for k, v in row.items()})
        for name in (*SETTINGS, "status", "stop_reason", "error_message", "used", "made_with"):
            setattr(self, name, entry.get(name, getattr(self, name)))


@dataclass
class Replay:
    """The content of a journal.

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
        """Apply an entry."""
        self.decisions += [Decision(**decision) for decision in entry.get("decisions", [])]
        if "trial" in entry:
            self.trials.setdefault(entry["trial"], TrialState()).apply(entry)
        elif "run" in entry:
            self.about = entry["run"]
        else:
            for kind, value in entry.items():
                if kind != "decisions":
                    self.facts.setdefault(kind, []).append(value)
