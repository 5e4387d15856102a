"""The Gaussian process over settings and epochs."""

import numpy as np
import pytest
from scipy.optimize import check_grad

from raytune_ocr.tune.schedulers.curves.model import (
    CurveModel,
    Evidence,
    encode,
    fit,
    kernel,
    kernel_diagonal,
    points,
    prior,
    quantiles,
)

EPOCHS = 20


def curves(count=12, dims=2, seed=0):
    """Points and scores of curves that rise to a level set by the first setting."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(count, dims))
    numbers = np.repeat(np.arange(count), 4)
    epochs = np.tile([1.0, 3.0, 9.0, 20.0], count)
    scores = x[numbers, 0] * (1 - 0.8**epochs) + 0.01 * rng.standard_normal(len(epochs))
    return points(numbers, x[numbers], epochs, EPOCHS), scores, x


def test_the_gradient_of_the_evidence_is_that_of_its_value():
    seen, scores, _ = curves()
    evidence = Evidence(seen, quantiles(scores, scores), dims=2)
    theta = prior(2)[0] + np.random.default_rng(1).normal(0, 0.2, 8)
    error = check_grad(lambda t: evidence(t)[0], lambda t: evidence(t)[1], theta)
    assert error < 1e-3 * np.linalg.norm(evidence(theta)[1])


def test_the_diagonal_is_that_of_the_kernel():
    seen, _, _ = curves()
    theta = prior(2)[0]
    assert np.diagonal(kernel(theta, seen, seen)) == pytest.approx(
        kernel_diagonal(theta, seen), abs=1e-4
    )


def test_the_fitted_model_predicts_the_end_of_a_new_curve_by_its_settings():
    seen, scores, _ = curves(count=20)
    targets = quantiles(scores, scores)
    model = CurveModel(seen, targets, fit(seen, targets, prior(2)[0]))
    new = np.array([[0.95, 0.5], [0.05, 0.5]])
    mean, spread = model.predict(points(np.array([-1, -2]), new, np.array([20.0, 20.0]), EPOCHS))
    assert mean[0] > mean[1] + 1.0
    assert (spread > 0).all()
    assert model.means(points(np.array([-1, -2]), new, np.array([20.0, 20.0]), EPOCHS)) == (
        pytest.approx(mean, abs=1e-4)
    )


def test_a_pending_point_takes_away_doubt_and_leaves_the_means():
    seen, scores, _x = curves()
    model = CurveModel(seen, quantiles(scores, scores), prior(2)[0])
    at = points(np.array([-1]), np.array([[0.5, 0.5]]), np.array([20.0]), EPOCHS)
    mean, spread = model.predict(at)
    same, less = model.predict(at, pending=at)
    assert same == pytest.approx(mean)
    assert less[0] < spread[0]


def test_targets_depend_on_the_order_of_the_scores_alone():
    scores = np.array([0.1, 0.4, -np.inf, 0.4, 0.9])
    targets = quantiles(scores, scores)
    assert targets == pytest.approx(quantiles(np.exp(5 * scores), np.exp(5 * scores)))
    assert targets[2] == targets.min() and targets[4] == targets.max()
    assert targets[1] == targets[3]


def test_an_inactive_setting_is_near_other_inactive_ones_and_far_from_every_value():
    place = encode(np.array([[np.nan], [np.nan], [0.5], [0.0]]))
    gaps = np.linalg.norm(place[:, None] - place[None], axis=2)
    assert gaps[0, 1] == 0.0
    assert gaps[0, 2] >= 0.5 and gaps[0, 3] >= 0.5


def test_a_model_of_the_same_point_seen_twice_still_predicts():
    once = points(np.zeros(30, dtype=int), np.full((30, 1), 0.5), np.full(30, 3.0), EPOCHS)
    theta = prior(1)[0]
    theta[-1] = -20.0  # no noise at all
    mean, _ = CurveModel(once, np.ones(30), theta).predict(once.take(np.array([0])))
    assert mean[0] == pytest.approx(1.0, abs=0.01)
