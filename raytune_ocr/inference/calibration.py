"""Calibrated confidence: of the readings with confidence 0.9, nine in ten are right.

A model's own probability is too sure where it is wrong. Platt scaling (1999) maps it to the share
that is right by a logistic curve of two parameters, fitted on images with known labels. It keeps
the order of readings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from raytune_ocr.errors import CheckpointError

KEY = "calibration"  # in the metadata of an exported file
EXTREME = 1e-6  # confidences nearer to 0 or 1 count as equal
PRIOR = 1.0  # weight of what is fitted to: the confidence as it is, where there is little to learn
STEPS = 50  # of Newton's method, which needs about ten
BINS = 10


class Bin(NamedTuple):
    """Readings of about the same confidence."""

    confidence: float
    right: float
    readings: int


class Calibration(NamedTuple):
    """The probability that a reading is right, by the logit of the model's confidence.

    Attributes:
        slope: > 0; below 1 where the model is too sure.
        offset: below 0 where it is too sure of doubtful readings, too.
    """

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, confidence: float) -> float:
        """The calibrated confidence; 0 and what is no number stay as they are."""
        if not confidence > 0.0:
            return confidence
        inside = min(max(confidence, EXTREME), 1 - EXTREME)
        logit = self.slope * math.log(inside / (1 - inside)) + self.offset
        return 1 / (1 + math.exp(-max(-700.0, min(700.0, logit))))

    def to_text(self) -> str:
        """Return the text for an exported file."""
        return json.dumps(list(self))

    @classmethod
    def from_text(cls, text: str, path: object) -> Calibration:
        """Parse the text of `to_text`.

        Raises:
            CheckpointError: it is anything else, naming the file.
        """
        try:
            slope, offset = map(float, json.loads(text))
        except (ValueError, TypeError, RecursionError):
            slope, offset = math.nan, math.nan
        if not (0 < slope < math.inf and math.isfinite(offset)):
            raise CheckpointError(
                f"{path}: {KEY} in its metadata must be a slope above 0 and an offset, got "
                f"{text[:80]!r}; export the model again"
            )
        return cls(slope, offset)


def fit(confidences: Sequence[float], right: Sequence[bool]) -> Calibration:
    """Fit the calibration on readings that are known to be right or wrong.

    Readings with confidence 0 are left out: they are marked as unreliable already.
    """
    kept = np.asarray(confidences, dtype=float) > 0
    inside = np.clip(np.asarray(confidences, dtype=float)[kept], EXTREME, 1 - EXTREME)
    inputs = np.stack([np.log(inside / (1 - inside)), np.ones(len(inside))], axis=1)
    wanted = _smoothed(np.asarray(right, dtype=bool)[kept])
    start = np.array([1.0, 0.0])
    weights = start.copy()
    for _ in range(STEPS):
        found = 1 / (1 + np.exp(-np.clip(inputs @ weights, -700, 700)))
        gradient = inputs.T @ (found - wanted) + PRIOR * (weights - start)
        curvature = (inputs.T * (found * (1 - found))) @ inputs + PRIOR * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step / max(1.0, float(np.abs(step).max()))  # no step beyond 1
        if np.abs(step).max() < 1e-9:
            break
    return Calibration(max(float(weights[0]), EXTREME), float(weights[1]))


def _smoothed(right: np.ndarray) -> np.ndarray:
    """Return Platt's targets, slightly above 0 and below 1."""
    count = right.sum()
    return np.where(right, (count + 1) / (count + 2), 1 / (len(right) - count + 2))


def cross_fitted(confidences: Sequence[float], right: Sequence[bool]) -> list[float]:
    """Return cross-fitted calibrated confidences: each half uses the other half's fit."""
    calibrated = list(confidences)
    for half in (0, 1):
        learned = fit(confidences[1 - half :: 2], right[1 - half :: 2])
        calibrated[half::2] = [learned(confidence) for confidence in confidences[half::2]]
    return calibrated


def reliability(confidences: Sequence[float], right: Sequence[bool]) -> list[Bin]:
    """Return mean confidence and accuracy of readings in `BINS` bins of equal width."""
    values, hits = np.asarray(confidences, dtype=float), np.asarray(right, dtype=float)
    places = np.minimum((values * BINS).astype(int), BINS - 1)
    return [
        Bin(float(values[here].mean()), float(hits[here].mean()), int(here.sum()))
        for place in range(BINS)
        if (here := places == place).any()
    ]


def expected_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: the mean distance of confidence from the share right."""
    total = sum(each.readings for each in bins)
    return sum(abs(each.confidence - each.right) * each.readings for each in bins) / max(total, 1)
