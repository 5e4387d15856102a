"""Calibrated confidence: of the readings with confidence 0.9, nine in ten are right."""

import math
import random

import pytest

from raytune_ocr.errors import CheckpointError
from raytune_ocr.inference.calibration import (
    Bin,
    Calibration,
    cross_fitted,
    expected_error,
    fit,
    reliability,
)


def too_sure(count, seed=0):
    """Confidences of a model that gives twice the logit that it should, and whether it is right."""
    rng = random.Random(seed)
    logits = [rng.gauss(1.0, 1.5) for _ in range(count)]
    right = [rng.random() < 1 / (1 + math.exp(-logit)) for logit in logits]
    return [1 / (1 + math.exp(-2 * logit)) for logit in logits], right


def test_the_fit_finds_how_much_too_sure_a_model_is():
    slope, offset = fit(*too_sure(20_000))
    assert slope == pytest.approx(0.5, abs=0.02) and offset == pytest.approx(0, abs=0.05)


def test_calibrated_confidence_is_the_share_that_is_right():
    confidences, right = too_sure(20_000)
    before = expected_error(reliability(confidences, right))
    after = expected_error(reliability(cross_fitted(confidences, right), right))
    assert before > 0.05 and after < 0.015


def test_the_order_of_readings_stays():
    calibrated = Calibration(0.3, -1.2)
    values = [calibrated(confidence / 1000) for confidence in range(1, 1000)]
    assert values == sorted(values) and 0 < values[0] < values[-1] < 1


def test_confidence_0_stays_0_and_takes_no_part_in_the_fit():
    assert Calibration(0.3, 5.0)(0.0) == 0.0
    confidences, right = too_sure(500)
    more = fit([*confidences, *[0.0] * 500], [*right, *[False] * 500])
    assert more == fit(confidences, right)


@pytest.mark.parametrize("right", [True, False])
def test_readings_that_are_all_right_or_all_wrong_have_a_finite_fit(right):
    slope, offset = fit([0.999999999] * 40, [right] * 40)
    assert 0 < slope < math.inf and math.isfinite(offset)
    assert (Calibration(slope, offset)(0.9999) > 0.9) == right
    assert fit([], []) == Calibration(1.0, 0.0)


def test_bins_hold_all_readings_and_their_error_is_weighted():
    bins = reliability([0.05, 0.15, 0.15, 1.0], [False, False, True, True])
    assert [each.readings for each in bins] == [1, 2, 1]
    assert expected_error([Bin(0.9, 0.8, 30), Bin(0.5, 0.5, 10)]) == pytest.approx(0.075)
    assert expected_error([]) == 0


def test_a_calibration_is_read_back_from_an_export_and_anything_else_is_refused():
    kept = Calibration(0.7, -0.1)
    assert Calibration.from_text(kept.to_text(), "model.onnx") == kept
    for text in ("", "[1]", "[0, 1]", "[-1, 0]", "[NaN, 0]", '["a", 0]', "[1e999, 0]", "[" * 9999):
        with pytest.raises(CheckpointError, match=r"^model\.onnx: calibration in its metadata"):
            Calibration.from_text(text, "model.onnx")
