"""Successive halving: all trials train to a rung, the best of them to the next, and so on.

Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization"
(2016). ASHA is its asynchronous form, which never waits and so lets the first trials pass; that
suits a hundred trials. Here, for a handful of presets, the order of arrival does not matter.
"""

from __future__ import annotations

from typing import ClassVar

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.schedulers.base import CONTINUE, STOP, Decision, Setup, Trials
from raytune_ocr.tune.schedulers.rungs import rung_epochs
from raytune_ocr.tune.schedulers.synchronous import Synchronous


class SuccessiveHalving(Synchronous):
    """At each rung one trial in `reduction_factor` continues, and at least one.

    A trial that ended before a rung does not count there.
    """

    name: ClassVar[str] = "halving"

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.rungs = rung_epochs(setup.grace_period, setup.reduction_factor, setup.max_epochs)
        self._left: int | None = None

    @property
    def milestone(self) -> int | None:
        """Return the next rung; None if one trial is left."""
        if self._left == 1:
            return None
        return next((rung for rung in self.rungs if rung > self.last_milestone), None)

    def decide(self, trials: Trials) -> list[Decision]:
        """Stop all but the best at a rung."""
        rung = self.milestone
        ranked = self.ranked(trials, last=rung) if rung is not None else []
        if rung is None or not ranked:
            return []
        left = max(1, len(ranked) // self.setup.reduction_factor)
        actions = [CONTINUE] * left + [STOP] * (len(ranked) - left)
        return [
            self._decision(trial.name, rung, action, {"left": left})
            for trial, action in zip(ranked, actions, strict=True)
        ]

    def apply(self, decision: Decision) -> None:
        """Move to the next rung with the remaining trials."""
        super().apply(decision)
        self._left = int(decision.state["left"])

    def check_resume(self, begun: Trials, added: Trials) -> None:
        """Refuse new trials after a rung at which they would have been judged."""
        if self.last_milestone and begun and added:
            raise ConfigurationError(
                "--resume: a run with halving must have no new trials after a rung (here epoch "
                f"{self.last_milestone}), because they would miss it, got {len(added)} more, "
                f"the first is {next(iter(added))}; resume with the same trials (--max-trials, "
                "--num-samples, --experiments), or use another --output-dir with --scheduler asha, "
                "which accepts new trials at any time"
            )
