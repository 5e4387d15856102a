"""Read the test split once for each winner, and keep its metrics in the journal."""

from __future__ import annotations

from typing import Any

from raytune_ocr.results.journal import TEST_SPLIT, Journal
from raytune_ocr.results.record import TrialRecord


def read_test_split(journal: Journal, winner: TrialRecord | None, allow_outside: bool) -> None:
    """Evaluate the winner on the test split, unless the journal has its metrics."""
    if winner is None or winner.checkpoint is None or winner.name in figures_of(journal):
        return
    figures = winner.task.read_test_split(
        winner.config, winner.checkpoint, winner.best, allow_outside
    )
    if figures:
        journal.append_fact(TEST_SPLIT, {"trial": winner.name, "figures": figures})


def figures_of(journal: Journal) -> dict[str, dict[str, Any]]:
    """Return the test metrics of each winner so far, by name."""
    return {fact["trial"]: fact["figures"] for fact in journal.facts.get(TEST_SPLIT, [])}
