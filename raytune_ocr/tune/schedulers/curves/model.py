"""A Gaussian process over (settings, log epoch) that predicts learning curves.

The kernel follows Swersky, Snoek and Adams ("Freeze-Thaw Bayesian Optimization", 2014) in having a
term of the settings and a term of each curve, and Wistuba, Kadra and Grabocka ("Supervising
the Multi-Fidelity Race of Hyperparameter Configurations", 2022) in taking the epoch as one more
input. With tau = log(1 + epoch), scaled to [0, 1]:

    k = a_x^2 Matern52(x, x') RBF(tau, tau')what all curves with near settings share
      + a_c^2 [same trial] RBF(tau, tau')           what only this curve has
      + a_t^2 (1/4 + tau tau')                      the trend that all curves share
      + a_e^2 e' e                                  what models of earlier studies predict
      + noise^2 [same point]

Targets are normal quantiles of the scores' ranks, so that the unit of a score does not matter. The
predictions e [studies] of earlier studies are in the same unit, with a weight for each study that
has a positive mean and is learned from the observations: that of an unrelated study goes to 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.special import ndtri

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

SQRT5 = float(np.sqrt(5.0))
JITTER = 1e-6
PRIOR_SCALE = (0.3, 0.8)
"""Length scale of a setting: median and standard deviation of the log. It grows with the root of
the number of settings, because distances in the cube do."""
PRIOR_REST = (
    ("a_x", 0.8, 0.5),
    ("l_x", 0.6, 0.7),
    ("a_c", 0.4, 0.7),
    ("l_c", 0.7, 0.7),
    ("a_t", 0.7, 0.7),
    ("noise", 0.08, 0.7),
)
N_REST = len(PRIOR_REST)
EARLIER_MEAN, EARLIER_SPREAD = 1.0, 1.0
"""Mean of the sum of the earlier studies' weights, and standard deviation of each weight times the
root of their number."""
FIT_ITERATIONS = 25


@dataclass(frozen=True)
class Points:
    """Points of curves.

    Attributes:
        x: encoded settings [n, 2 d].
        tau: scaled log epochs [n].
        trial: numbers of trials [n].
        earlier: predictions of earlier studies [n, studies].
    """

    x: Array
    tau: Array
    trial: Indices
    earlier: Array

    def __len__(self) -> int:
        return len(self.tau)

    def take(self, index: Indices) -> Points:
        """Some of the points."""
        return Points(self.x[index], self.tau[index], self.trial[index], self.earlier[index])

    def at_tau(self, tau: Array) -> Points:
        """The same settings at other scaled log epochs [n]."""
        return Points(self.x, tau, self.trial, self.earlier)

    def join(self, other: Points) -> Points:
        """These points, then the others."""
        return Points(
            np.concatenate([self.x, other.x]),
            np.concatenate([self.tau, other.tau]),
            np.concatenate([self.trial, other.trial]),
            np.concatenate([self.earlier, other.earlier]),
        )


def encode(x: Array) -> Array:
    """Encode settings [n, d] as points [n, 2 d]: an inactive (NaN) one is mid-range, with a flag.

    Two inactive settings are at distance 0; an inactive one is at least half a unit from any
    active one.
    """
    missing = np.isnan(x)
    return np.concatenate([np.where(missing, 0.5, x), 0.5 * missing], axis=1)


def points(
    trials: Indices, x: Array, epochs: Array, max_epochs: int, earlier: Array | None = None
) -> Points:
    """Points from trial numbers [n], settings in the unit cube [n, d] and epochs [n]."""
    tau = scaled(epochs, max_epochs)
    return Points(encode(x), tau, trials, np.empty((len(x), 0)) if earlier is None else earlier)


def scaled(epochs: Array, max_epochs: int) -> Array:
    """Scaled log epochs [n], 1 at the end."""
    return np.asarray(np.log1p(epochs) / np.log1p(max_epochs))


def quantiles(scores: Array, among: Array) -> Array:
    """Normal quantiles of scores [n] by their mean rank `among` all (Blom's positions)."""
    ranked = np.sort(among)
    low = np.searchsorted(ranked, scores, side="left")
    high = np.searchsorted(ranked, scores, side="right")
    return np.asarray(ndtri((0.5 * (low + high) + 0.125) / (len(ranked) + 0.25)))


def prior(dims: int) -> tuple[Array, Array]:
    """Mean and standard deviation of the log hyper-parameters [dims + 6]."""
    base, spread = PRIOR_SCALE
    means = [base * np.sqrt(dims)] * dims + [mean for _, mean, _ in PRIOR_REST]
    return np.log(np.array(means)), np.array([spread] * dims + [sd for _, _, sd in PRIOR_REST])


class CurveModel:
    """The posterior of all curves, given observations.

    Args:
        seen: the observed points.
        targets: their values [n], higher is better.
        theta: log hyper-parameters [d + 6]; see `fit`.
    """

    def __init__(self, seen: Points, targets: Array, theta: Array) -> None:
        self.seen, self.targets, self.theta = seen, targets, theta
        total = kernel(theta, seen, seen).astype(float)
        total[np.diag_indices(len(seen))] += _noise(theta)
        self._lower = _cholesky(total)
        rest = targets - prior_mean(seen)
        self._white = solve_triangular(self._lower, rest, lower=True, check_finite=False)

    def means(self, at: Points) -> Array:
        """Return posterior means [m], which is much cheaper than with standard deviations."""
        alpha = solve_triangular(self._lower, self._white, lower=True, trans=1, check_finite=False)
        return np.asarray(alpha @ kernel(self.theta, self.seen, at)) + prior_mean(at)

    def predict(self, at: Points, pending: Points | None = None) -> tuple[Array, Array]:
        """Return mean and standard deviation [m] of the targets; pending points count as observed.

        A pending point gets its own mean as its value (the "kriging believer"), which changes no
        mean and removes the uncertainty that its result will remove.
        """
        cross, lower = kernel(self.theta, self.seen, at), self._lower
        if pending is not None and len(pending):
            lower = self._grown(pending)
            cross = np.concatenate([cross, kernel(self.theta, pending, at)])
        side = solve_triangular(lower, cross, lower=True, check_finite=False)
        mean = side[: len(self._white)].T @ self._white
        variance = kernel_diagonal(self.theta, at) - np.einsum("ij,ij->j", side, side)
        return mean + prior_mean(at), np.sqrt(np.maximum(variance, 1e-8))

    def _grown(self, new: Points) -> Array:
        """Return the Cholesky factor extended by rows for new points."""
        n, m = len(self._lower), len(new)
        cross = kernel(self.theta, self.seen, new)
        side = solve_triangular(self._lower, cross, lower=True, check_finite=False)
        corner = kernel(self.theta, new, new).astype(float) - side.T @ side
        corner[np.diag_indices(m)] += _noise(self.theta)
        out = np.zeros((n + m, n + m))
        out[:n, :n], out[n:, :n], out[n:, n:] = self._lower, side.T, _cholesky(corner)
        return out


def matern52(a: Array, b: Array, scale: Array) -> Array:
    """Return the Matern kernel [n, m] of smoothness 5/2 between encoded points, length scales [d].

    In single precision and in place, because this takes most of a decision's time; the rounding
    (1e-6) is far below the noise.
    """
    root5 = SQRT5 / np.concatenate([scale, scale])
    a, b = (a * root5).astype(np.float32), (b * root5).astype(np.float32)
    root = a @ (-2.0 * b.T)
    root += (a * a).sum(1)[:, None]
    root += (b * b).sum(1)[None, :]
    np.sqrt(np.maximum(root, 0.0, out=root), out=root)
    out = root * np.float32(1.0 / 3.0)
    out += 1.0
    out *= root
    out += 1.0
    out *= np.exp(np.negative(root, out=root), out=root)
    return out


def kernel(theta: Array, a: Points, b: Points) -> Array:
    """Covariance [n, m] of the noise-free curves at two sets of points."""
    scale, (a_x, l_x, a_c, l_c, a_t, _) = np.exp(theta[:-N_REST]), np.exp(theta[-N_REST:])
    out = matern52(a.x, b.x, scale)
    # few epochs differ, so compute the terms of the epoch alone once for each pair
    (tau_a, at_a), (tau_b, at_b) = (np.unique(p.tau, return_inverse=True) for p in (a, b))
    gap = (tau_a[:, None] - tau_b[None, :]) ** 2
    time_x = a_x**2 * np.exp(-0.5 * gap / l_x**2)
    trend = a_t**2 * (0.25 + tau_a[:, None] * tau_b[None, :])
    out *= time_x.astype(np.float32)[at_a][:, at_b]
    out += trend.astype(np.float32)[at_a][:, at_b]
    if a.earlier.size:
        out += earlier_kernel(a, b).astype(np.float32)
    rows, columns = np.nonzero(a.trial[:, None] == b.trial[None, :])
    out[rows, columns] += a_c**2 * np.exp(-0.5 * gap[at_a[rows], at_b[columns]] / l_c**2)
    return out


def earlier_kernel(a: Points, b: Points) -> Array:
    """Covariance [n, m] by the unknown weights of earlier studies."""
    return EARLIER_SPREAD**2 / a.earlier.shape[1] * (a.earlier @ b.earlier.T)


def prior_mean(at: Points) -> Array:
    """Mean [n] of the curves before any observation, by earlier studies."""
    if not at.earlier.size:
        return np.zeros(len(at))
    return np.asarray(EARLIER_MEAN * at.earlier.mean(1))


def kernel_diagonal(theta: Array, at: Points) -> Array:
    """Prior variance [n] of the noise-free curves."""
    a_x, _, a_c, _, a_t, _ = np.exp(theta[-N_REST:])
    out = a_x**2 + a_c**2 + a_t**2 * (0.25 + at.tau**2)
    if at.earlier.size:
        out = out + EARLIER_SPREAD**2 * (at.earlier**2).mean(1)
    return np.asarray(out)


def fit(seen: Points, targets: Array, start: Array) -> Array:
    """Log hyper-parameters [d + 6] of greatest posterior density, searched from `start`.

    Returns:
        `start` if the search finds nothing.
    """
    dims = len(start) - N_REST
    mean, spread = prior(dims)
    found = minimize(
        Evidence(seen, targets, dims),
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=np.stack([mean - 4.0 * spread, mean + 4.0 * spread], axis=1),
        options={"maxiter": FIT_ITERATIONS, "maxfun": FIT_ITERATIONS + 7},
    )
    return np.asarray(found.x) if np.isfinite(found.fun) and found.fun < FAILED else start


FAILED = 1e9
"""The value of `Evidence` where it cannot be computed."""


class Evidence:
    """Negative log posterior of the hyper-parameters and its gradient, on fixed points."""

    def __init__(self, seen: Points, targets: Array, dims: int) -> None:
        self.targets, self.dims = targets - prior_mean(seen), dims
        self.fixed = earlier_kernel(seen, seen) if seen.earlier.size else 0.0
        gaps = (seen.x[:, None, :] - seen.x[None, :, :]) ** 2
        self.gaps = np.ascontiguousarray(np.moveaxis(gaps[..., :dims] + gaps[..., dims:], 2, 0))
        self.tau_gap = (seen.tau[:, None] - seen.tau[None, :]) ** 2
        self.trend = 0.25 + seen.tau[:, None] * seen.tau[None, :]
        self.same = (seen.trial[:, None] == seen.trial[None, :]).astype(float)
        self.mean, self.spread = prior(dims)

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Value and gradient [dims + 6] at log hyper-parameters theta."""
        n = len(self.targets)
        of_x, slope, of_curve, of_trend = self._terms(theta)
        total = of_x + of_curve + of_trend + self.fixed
        total[np.diag_indices(n)] += _noise(theta)
        try:
            lower = np.linalg.cholesky(total)
        except np.linalg.LinAlgError:
            return 10.0 * FAILED, np.zeros_like(theta)
        inverse = cho_solve((lower, True), np.eye(n), check_finite=False)
        alpha = inverse @ self.targets
        weight = 0.5 * (inverse - np.outer(alpha, alpha))
        gradient = self._gradient(theta, weight, slope, of_x, of_curve, of_trend)
        value = 0.5 * self.targets @ alpha + np.log(np.diagonal(lower)).sum()
        off = (theta - self.mean) / self.spread
        return float(value + 0.5 * off @ off), gradient + off / self.spread

    def _terms(self, theta: Array) -> tuple[Array, Array, Array, Array]:
        """Terms [n, n] of the kernel, that of the settings with its slope in the distance."""
        a_x, l_x, a_c, l_c, a_t, _ = np.exp(theta[-N_REST:])
        root = SQRT5 * np.sqrt(np.tensordot(np.exp(-2.0 * theta[: self.dims]), self.gaps, 1))
        shape = a_x**2 * np.exp(-0.5 * self.tau_gap / l_x**2) * np.exp(-root)
        of_x = (1.0 + root + root * root / 3.0) * shape
        of_curve = a_c**2 * self.same * np.exp(-0.5 * self.tau_gap / l_c**2)
        return of_x, (5.0 / 3.0) * (1.0 + root) * shape, of_curve, a_t**2 * self.trend

    def _gradient(self, theta: Array, weight: Array, slope: Array, *terms: Array) -> Array:
        """Half the trace of (K^-1 - alpha alpha') dK for each log hyper-parameter."""
        of_x, of_curve, of_trend = (weight * term for term in terms)
        _, l_x, _, l_c, _, noise = np.exp(theta[-N_REST:])
        by_scale = np.tensordot(self.gaps, weight * slope, 2) * np.exp(-2.0 * theta[: self.dims])
        rest = (
            2.0 * of_x.sum(),
            (of_x * self.tau_gap).sum() / l_x**2,
            2.0 * of_curve.sum(),
            (of_curve * self.tau_gap).sum() / l_c**2,
            2.0 * of_trend.sum(),
            2.0 * noise**2 * np.trace(weight),
        )
        return np.concatenate([by_scale, rest])


def _noise(theta: Array) -> float:
    return float(np.exp(2.0 * theta[-1])) + JITTER


def _cholesky(matrix: Array) -> Array:
    """Return the Cholesky factor, with more jitter if rounding made the matrix indefinite."""
    scale = float(np.mean(np.diagonal(matrix)))
    for power in range(-9, 0):
        try:
            return np.asarray(np.linalg.cholesky(matrix), dtype=np.float64)
        except np.linalg.LinAlgError:
            matrix = matrix + np.eye(len(matrix)) * scale * 10.0**power
    raise np.linalg.LinAlgError("the covariance is not positive definite")
