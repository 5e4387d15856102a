"""Confidence intervals of shares and means, and the significance of a lead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 9999
LEVEL = 0.95  # of every interval
SIGNIFICANT = 0.05  # p-value below which a lead is significant


class Interval(NamedTuple):
    """The ends of a `LEVEL` confidence interval."""

    low: float
    high: float


class Lead(NamedTuple):
    """The difference of two means, with its significance.

    Attributes:
        difference: of the means.
        p_value: of a two-sided paired t-test; None for one pair, and for equal differences, which
            rounding makes likely and the test would call certain.
        pairs: number of pairs.
    """

    difference: float
    p_value: float | None
    pairs: int

    @property
    def is_noise(self) -> bool:
        """Whether the difference is not significant, or its significance is unknown."""
        return self.p_value is None or self.p_value >= SIGNIFICANT


def wilson(right: int, total: int) -> Interval:
    """Return Wilson's interval of the share `right / total`, from 0 to 1; (0, 1) if total is 0.

    Wilson, "Probable inference, the law of succession, and statistical inference" (1927).

    Raises:
        ValueError: `right` is not between 0 and `total`.
    """
    if total == 0:
        return Interval(0.0, 1.0)
    from scipy.stats import binomtest  # takes a second, and training needs it once at its end

    found = binomtest(right, total).proportion_ci(LEVEL, method="wilson")
    return Interval(float(found.low), float(found.high))


def bootstrap_mean(values: Sequence[float], seed: int = 0) -> Interval:
    """Return the percentile bootstrap interval of the mean; it is too narrow for few values.

    Raises:
        ValueError: there is no value.
    """
    if not len(values):
        raise ValueError("values: must hold at least one number, got none")
    known = np.asarray(values, dtype=float)
    draws = np.random.default_rng(seed).integers(0, len(known), (RESAMPLES, len(known)))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(known[draws].mean(axis=1), [tail, 1 - tail])
    return Interval(float(low), float(high))


def paired_lead(first: Sequence[float], second: Sequence[float]) -> Lead:
    """Return the mean difference of `first` and `second`, pair by pair.

    The t-test assumes normal differences. A test without that assumption (sign flips) cannot go
    below p = 0.25 with three pairs, so it would never find a significant lead.

    Raises:
        ValueError: they differ in length, or are empty.
    """
    if len(first) != len(second) or not len(first):
        raise ValueError(f"must have equal lengths >= 1, got {len(first)} and {len(second)}")
    differences = np.subtract(first, second)
    mean = float(differences.mean())
    if np.ptp(differences) < 1e-12:
        return Lead(mean, None, len(differences))
    from scipy.stats import ttest_rel  # as above

    return Lead(mean, float(ttest_rel(first, second).pvalue), len(differences))
