"""How sure a figure is: intervals of shares and of means, and whether a lead is more than noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

RESAMPLES = 9999
LEVEL = 0.95  # of every interval
SIGNIFICANT = 0.05  # a lead is noise unless its p is below


class Interval(NamedTuple):
    """Both ends of a `LEVEL` interval."""

    low: float
    high: float


class Lead(NamedTuple):
    """What the mean of one is above another's.

    Attributes:
        difference: of the means.
        p_value: of a two-sided paired t-test; None where it cannot be told: of one pair, or of
            differences that are all the same, which rounding makes likely and the test takes
            for certainty.
        pairs: how many.
    """

    difference: float
    p_value: float | None
    pairs: int

    @property
    def is_noise(self) -> bool:
        """Whether as large a difference is to be expected of two equals, or nobody can tell."""
        return self.p_value is None or self.p_value >= SIGNIFICANT


def wilson(right: int, total: int) -> Interval:
    """Wilson's interval of the share `right / total`, ends from 0 to 1; (0, 1) of nothing.

    Wilson, "Probable inference, the law of succession, and statistical inference" (1927).

    Raises:
        ValueError: when `right` is not between 0 and `total`.
    """
    from scipy.stats import binomtest  # slow to import

    if total == 0:
        return Interval(0.0, 1.0)
    found = binomtest(right, total).proportion_ci(LEVEL, method="wilson")
    return Interval(float(found.low), float(found.high))


def bootstrap_mean(values: Sequence[float], seed: int = 0) -> Interval:
    """The percentile bootstrap's interval of the mean; too narrow for a handful of values.

    Raises:
        ValueError: when there is no value.
    """
    import numpy as np

    if not len(values):
        raise ValueError("values: must hold at least one number, got none")
    known = np.asarray(values, dtype=float)
    draws = np.random.default_rng(seed).integers(0, len(known), (RESAMPLES, len(known)))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(known[draws].mean(axis=1), [tail, 1 - tail])
    return Interval(float(low), float(high))


def paired_lead(first: Sequence[float], second: Sequence[float]) -> Lead:
    """How far `first` is ahead of `second`, pair by pair.

    The t-test takes the differences for normal. A test without that assumption (sign flips) cannot
    go below p = 0.25 with three pairs, so it could never tell a lead from noise here.

    Raises:
        ValueError: when they are not equally long, or empty.
    """
    import numpy as np
    from scipy.stats import ttest_rel  # slow to import

    if len(first) != len(second) or not len(first):
        raise ValueError(f"must be as many pairs, at least one, got {len(first)}, {len(second)}")
    differences = np.subtract(first, second)
    mean = float(differences.mean())
    if np.ptp(differences) < 1e-12:
        return Lead(mean, None, len(differences))
    return Lead(mean, float(ttest_rel(first, second).pvalue), len(differences))
