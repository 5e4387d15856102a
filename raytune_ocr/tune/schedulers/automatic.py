"""Picks a scheduler by the size of a search.

The rules follow replays of recorded and drawn learning curves, see docs/explanations/search.md.
"""

from __future__ import annotations

from typing import NamedTuple

FEW = 8
"""Up to so many trials are compared once, half way: the best of 3 to 8 is then kept in 90 to 96 %
of the replays, and in 49 to 79 % with the first rung at a tenth of the epochs."""
FEWEST_EPOCHS = 4
"""Trials of fewer epochs are not stopped early: nothing is saved by it."""


class Pick(NamedTuple):
    """A scheduler by its name, its grace period in epochs, and the reason in words."""

    scheduler: str
    grace_period: int
    why: str


def pick(samples: int, presets: int, epochs: int, adaptive: bool = False) -> Pick:
    """The scheduler for a search.

    Args:
        samples: trials that are drawn from domains.
        presets: trials that are not.
        epochs: of the longest trial.
        adaptive: whether the searcher draws trials by the results of others.
    """
    trials = samples + presets
    counted = f"{trials} trial{'s' * (trials != 1)} of at most {epochs} epochs"
    if trials < 3 or epochs < FEWEST_EPOCHS:
        return Pick("none", 1, f"{counted}: too little to stop any early")
    if adaptive:
        return Pick("asha", 1, f"{counted}, drawn one after the other: none waits for the others")
    if trials <= FEW:
        half = -(-epochs // 2)
        return Pick("halving", half, f"{counted}: the best third of them continues after {half}")
    if samples > presets:
        return Pick("freeze-thaw", 1, f"{counted}, most of them sampled: their curves are modelled")
    quarter = -(-epochs // 4)
    return Pick("halving", quarter, f"{counted}: the best third continues after {quarter}")
