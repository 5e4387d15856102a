"""Successive halving: all trials train for a while, the best of them for longer, and so on.

Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization"
(2016). ASHA is its asynchronous form, which waits for nobody and so lets the first ones pass; that
suits a hundred trials. A handful of presets takes a third fewer epochs here, and the same ones go
on whichever comes first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.journal_schema import HALVING
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.schedulers.rungs import rung_epochs
from raytune_ocr.tune.schedulers.synchronous import Fronts
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.search_space import Space


class SuccessiveHalving(Fronts):
    """At each rung one trial in `reduction_factor` goes on, and at least one.

    Args:
        grace_period: epochs that every trial gets, >= 1; compared as often as ASHA does.
        reduction_factor: >= 2.

    The others are those of `Fronts`. Who ended before a rung is not counted there.
    """

    kind = HALVING

    def __init__(
        self,
        space: Space,
        known: KnownPoints | None = None,
        max_trials: int | None = None,
        decisions: Iterable[Mapping[str, Any]] = (),
        *,
        grace_period: int,
        reduction_factor: int,
    ) -> None:
        super().__init__(space, known, max_trials, decisions)
        longest = max((record.config.num_epochs for record in self._all()), default=0)
        self.rungs = rung_epochs(grace_period, reduction_factor, longest)
        self.reduction_factor = reduction_factor

    def first(self, begun: Collection[str] = ()) -> list[TrialRecord]:
        """All trials.

        Raises:
            ConfigurationError: some are new, after a rung at which they would have been judged.
        """
        records = super().first(begun)
        new = [record.name for record in records if record.name not in begun]
        if self.decisions and 0 < len(new) < len(records):  # else it is another run
            raise ConfigurationError(
                "--resume: a run by halving must keep its trials once it was decided who goes on, "
                f"as after epoch {self.last_front}, since new ones would never be judged, got "
                f"{len(new)} more, {new[0]} first; resume it with as many (--max-trials, "
                "--num-samples, --experiments), or train more of them in another --output-dir, "
                "where --scheduler asha judges new ones at any time"
            )
        return records

    @property
    def front(self) -> int | None:
        """The next rung; none for one that is left alone."""
        if self.decisions and self.decisions[-1]["left"] == 1:
            return None
        return next((rung for rung in self.rungs if rung > self.last_front), None)

    def decide(self, records: Mapping[str, TrialRecord]) -> dict[str, Any] | None:
        """Who ends at this rung; None while some are on their way to it.

        Returns:
            `epoch`, `ends`: names, the worst last, and how many are `left`.
        """
        if self.front is None:
            return None
        ranked = self.ranked(records, last=self.front)
        if not ranked:
            return None
        left = max(1, len(ranked) // self.reduction_factor)
        ends = [record.name for record in ranked[left:]]
        return {"epoch": self.front, "ends": ends, "left": left}
