"""Asynchronous HyperBand: ASHA in brackets, for trials that are good only late.

Li et al., "A System for Massively Parallel Hyperparameter Tuning" (2020). The first bracket has all
rungs, each next one starts a rung later.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
from typing import ClassVar

from raytune_ocr.tune.schedulers.asha import ASHA


class AsyncHyperBand(ASHA):
    """ASHA in brackets, chosen by a hash of the trial's name, in HyperBand's proportions."""

    name: ClassVar[str] = "hyperband"

    def bracket(self, name: str) -> int:
        """Return the bracket of a trial: the number of rungs that it skips."""
        brackets = len(self.rungs) + 1
        eta = self.setup.reduction_factor
        shares = [eta**-b / (brackets - b) for b in range(brackets)]
        digest = hashlib.sha256(name.encode()).digest()
        position = int.from_bytes(digest[:8], "big") / 2**64 * sum(shares)
        return bisect.bisect_right(list(itertools.accumulate(shares))[:-1], position)

    def judges(self, name: str, epoch: int) -> bool:
        """Whether that epoch is a rung of the trial's bracket."""
        return epoch in self.rungs[self.bracket(name) :]

    def compares(self, name: str, other: str) -> bool:
        """Whether both trials are in one bracket."""
        return self.bracket(name) == self.bracket(other)
