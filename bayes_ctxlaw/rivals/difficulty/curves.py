"""The law of a cluster in compute, its fit by least squares, and which clusters are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

UNIT = 1e18
"""FLOPs that compute is counted in, inferred from the axes of arXiv:2502.17262."""

MIN_A, MIN_B, MAX_C = 1.0, 0.1, 1.0
"""A cluster is kept with a and b above the first two, and c at least 0 and below the third."""

_LOW = np.array([-8.0, -3.0, -0.5, 0.0])  # log h in the middle of the data, b, c, g
_HIGH = np.array([8.0, 6.0, 6.0, 1.0])
_STEEP = 700.0  # exponent at which exp is still finite


def cluster_law(compute: np.ndarray, a: float, b: float, c: float, g: float) -> np.ndarray:
    """Pass rate g + (1 − g)·exp(−a·C^−b − c), with C in units of 1e18 FLOPs.

    Parameters
    ----------
    compute : ndarray
        Training compute, FLOPs.
    a, b, c, g
        Parameters, which broadcast with `compute`.

    References
    ----------
    Xu et al., arXiv:2502.17262.

    Examples
    --------
    >>> float(cluster_law(1e18, a=1.0, b=0.5, c=0.0, g=0.0).round(4))
    0.3679
    """
    log_h = np.log(a) - np.asarray(b) * np.log(np.asarray(compute) / UNIT)
    return g + (1.0 - g) * np.exp(-np.exp(np.minimum(log_h, _STEEP)) - c)


@dataclass(frozen=True)
class Curve:
    """Fitted parameters of a cluster's law.

    Parameters
    ----------
    a, b, c, g : float
        As in `cluster_law`.

    Examples
    --------
    >>> Curve(a=20.0, b=0.05, c=0.1, g=0.0).refusal
    'b = 0.05 is not above 0.1'
    """

    a: float
    b: float
    c: float
    g: float

    def __call__(self, compute: np.ndarray) -> np.ndarray:
        """Pass rate at a training compute in FLOPs."""
        return cluster_law(compute, self.a, self.b, self.c, self.g)

    @property
    def refusal(self) -> str:
        """Why the cluster cannot be extrapolated, in words; empty if it can."""
        return refusal(self.a, self.b, self.c)


def refusal(a: float, b: float, c: float) -> str:
    """Which conditions the parameters of a cluster fail, in words; empty for none."""
    reasons = []
    if not a > MIN_A:
        reasons.append(f"a = {a:.3g} is not above {MIN_A:g}")
    if not b > MIN_B:
        reasons.append(f"b = {b:.3g} is not above {MIN_B:g}")
    if not 0.0 <= c < MAX_C:
        reasons.append(f"c = {c:.3g} is not from 0 to below {MAX_C:g}")
    return ", ".join(reasons)


def fit_curve(compute: np.ndarray, rate: np.ndarray, start: Curve | None = None) -> Curve:
    """Least squares of the cluster law, all four parameters free.

    Parameters
    ----------
    compute : ndarray
        Training compute of the checkpoints, FLOPs.
    rate : ndarray
        Mean pass rate of the cluster at each, or any other score.
    start : Curve, optional
        Where to descend from. Otherwise from ten places.

    Returns
    -------
    Curve

    Notes
    -----
    b may come out negative and c above 1 or a little below 0: such clusters the filter refuses. A
    curve with g = 1 or a flat one is told by fewer parameters than four; of curves that fit alike,
    that from the earliest start is taken.

    Examples
    --------
    >>> compute = np.geomspace(1e19, 1e23, 8)
    >>> fit = fit_curve(compute, cluster_law(compute, a=9.0, b=0.4, c=0.05, g=0.1))
    >>> round(fit.a, 2), round(fit.b, 3), round(fit.c, 3), round(fit.g, 3)
    (9.0, 0.4, 0.05, 0.1)
    """
    log_c = np.log(np.asarray(compute, dtype=float) / UNIT)
    middle = log_c.mean()
    x, rate = log_c - middle, np.asarray(rate, dtype=float)

    def parts(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        h = np.exp(np.minimum(theta[0] - theta[1] * x, _STEEP))
        return h, np.exp(-h - theta[2])

    def residuals(theta: np.ndarray) -> np.ndarray:
        return theta[3] + (1.0 - theta[3]) * parts(theta)[1] - rate

    def slopes(theta: np.ndarray) -> np.ndarray:
        h, e = parts(theta)
        up = (1.0 - theta[3]) * e
        # Where h is huge e is 0, and so is their product.
        steep = up * np.minimum(h, 1e300)
        return np.column_stack([-steep, steep * x, -up, 1.0 - e])

    starts = [_inside(start, middle)] if start else _starts(rate)
    found = [
        least_squares(residuals, theta, slopes, bounds=(_LOW, _HIGH), x_scale="jac", max_nfev=400)
        for theta in starts
    ]
    costs = np.array([fit.cost for fit in found])
    best = found[int(np.flatnonzero(costs <= costs.min() * (1.0 + 1e-6) + 1e-12)[0])].x
    return Curve(float(np.exp(best[0] + best[1] * middle)), *map(float, best[1:]))


def _inside(curve: Curve, middle: float) -> np.ndarray:
    """A curve as a place to start from, off the bounds."""
    theta = np.array([np.log(curve.a) - curve.b * middle, curve.b, curve.c, curve.g])
    edge = 1e-3 * (_HIGH - _LOW)
    return np.clip(theta, _LOW + edge, _HIGH - edge)


def _starts(rate: np.ndarray) -> list[np.ndarray]:
    low = float(np.clip(rate.min(), 0.01, 0.9))
    middle = float(np.clip(rate.mean(), 0.01, 0.98))
    starts = []
    for floor in (0.01, 0.9 * low):
        above = np.clip((middle - floor) / (1.0 - floor), 0.005, 0.98)
        log_h = np.log(max(-np.log(above) - 0.05, 0.02))
        starts += [np.array([log_h, b, 0.05, floor]) for b in (0.3, 0.8, 0.1, -0.2, 2.0)]
    return starts


def weighted_mean(curves: Sequence[Curve], sizes: np.ndarray, compute: np.ndarray) -> np.ndarray:
    """Accuracy of the predictable subset: curves at `compute`, weighted by items."""
    return np.average([curve(compute) for curve in curves], axis=0, weights=sizes)
