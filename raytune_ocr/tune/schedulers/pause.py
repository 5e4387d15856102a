"""Pauses a trial at its milestone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler


class Turns(FIFOScheduler):
    """Ends a trial's turn where it has to wait for others; it is asked for again later."""

    stopped: Mapping[str, int] = {}
    """By trial, the epoch at which each was stopped for good: not here."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop or go on."""
        return TrialScheduler.STOP if is_turn_over(trial, result) else TrialScheduler.CONTINUE


def is_turn_over(trial: Any, result: Mapping[str, Any]) -> bool:
    """Whether a trial has come to the epoch after which it has to wait."""
    until, epoch = trial.config.get("until"), result.get("epoch")
    return until is not None and epoch is not None and epoch >= until
