"""From the score of the predictable subset to that of the whole set: a monotone spline."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import BSpline
from scipy.optimize import nnls

RMSE = 0.005
"""Smoothing is lowered until the root mean square error is below this."""

_SMOOTHING = np.geomspace(1e3, 1e-9, 73)
_APART = 0.01  # knots closer than this are one
_FIRMLY = 1e4  # weight of the condition that the curve ends in 1


class MonotoneSpline:
    """A cubic smoothing spline through (0, 0) and (1, 1) that never falls.

    Parameters
    ----------
    subset, full : ndarray
        Scores of checkpoints (and of anchors) on the predictable subset and on the whole set.

    Attributes
    ----------
    smoothing : float
        Weight of the integrated squared second derivative.
    rmse : float
        Root mean square error at the points given.

    Notes
    -----
    Knots are at the points. The coefficients of a B-spline that do not fall make a curve that does
    not fall; their steps are found by non-negative least squares. Smoothing is lowered from a value
    at which the curve is the diagonal, until the root mean square error is below 0.005, or as far
    as it goes.

    References
    ----------
    Xu et al., arXiv:2502.17262, for its use.

    Examples
    --------
    >>> spline = MonotoneSpline(np.array([0.1, 0.3, 0.5]), np.array([0.05, 0.2, 0.4]))
    >>> spline(np.array([0.0, 0.5, 1.0])).round(2).tolist()
    [0.0, 0.4, 1.0]
    """

    def __init__(self, subset: np.ndarray, full: np.ndarray) -> None:
        subset, full = np.asarray(subset, dtype=float), np.asarray(full, dtype=float)
        knots = _clamped(subset)
        basis = _design(knots, subset)
        bend = _bending(knots)
        size = basis.shape[1]
        # Coefficient j is the sum of the first j steps; the first coefficient is 0.
        total = np.tril(np.ones((size, size)))[:, 1:]
        last = _FIRMLY * np.ones((1, size - 1))
        target = np.concatenate([full, np.zeros(len(bend)), [_FIRMLY]])
        root = np.sqrt(len(full))
        for smoothing in _SMOOTHING:
            rows = [basis @ total, root * np.sqrt(smoothing) * bend @ total, last]
            steps, _ = nnls(np.concatenate(rows), target)
            self._spline = BSpline(knots, total @ (steps / steps.sum()), 3)
            self.smoothing = float(smoothing)
            self.rmse = float(np.sqrt(np.mean((self(subset) - full) ** 2)))
            if self.rmse < RMSE:
                break

    def __call__(self, subset: np.ndarray) -> np.ndarray:
        """Score on the whole set, for scores on the subset in [0, 1]."""
        return self._spline(np.asarray(subset, dtype=float))


def _clamped(places: np.ndarray) -> np.ndarray:
    """Knots of a cubic spline on [0, 1], interior ones at the places, no two nearly the same."""
    inner = [0.0]
    for place in np.sort(places):
        if place - inner[-1] >= _APART and 1.0 - place >= _APART:
            inner.append(float(place))
    return np.array([0.0] * 3 + inner + [1.0] * 4)


def _design(knots: np.ndarray, places: np.ndarray) -> np.ndarray:
    return BSpline.design_matrix(np.clip(places, 0.0, 1.0), knots, 3).toarray()


def _bending(knots: np.ndarray) -> np.ndarray:
    """Rows whose squares, of coefficients, sum to the integral of the squared second derivative."""
    edges = np.unique(knots)
    # The second derivative is linear between knots: two Gauss points there are exact.
    half, centre = np.diff(edges) / 2.0, (edges[1:] + edges[:-1]) / 2.0
    places = np.concatenate([centre - half / np.sqrt(3.0), centre + half / np.sqrt(3.0)])
    size = len(knots) - 4
    second = np.column_stack(
        [BSpline(knots, unit, 3).derivative(2)(places) for unit in np.eye(size)]
    )
    return np.sqrt(np.concatenate([half, half]))[:, None] * second
