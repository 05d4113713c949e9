"""A curve fitted by least squares, and again to every bootstrap resample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import differential_evolution, least_squares

Bounds = tuple[np.ndarray, np.ndarray]
Design = Mapping[str, np.ndarray]

# "best1bin", SciPy's default, ends in a local optimum (a step in prompt length) in up to three of
# ten runs on the paper's points; "rand1bin" in none of 120, in a tenth of a second.
_SEARCH = {"strategy": "rand1bin", "popsize": 25, "tol": 1e-4, "maxiter": 2000}


@dataclass(frozen=True)
class Fit:
    """What was fitted to the rows of one task.

    Parameters
    ----------
    best : ndarray (parameter,)
    resampled : ndarray (resample, parameter)
    residuals : ndarray (row,)
        Scores less the curve.
    """

    best: np.ndarray
    resampled: np.ndarray
    residuals: np.ndarray


def fit_curve(
    curve: Callable[[np.ndarray, Design], np.ndarray],
    bounds: Bounds,
    design: Design,
    score: np.ndarray,
    weights: np.ndarray,
    seed: int,
) -> Fit:
    """Search for the least squares, descend to them, and descend again for every resample.

    Parameters
    ----------
    curve : callable
        Score from parameters (first axis) and design, which broadcast.
    bounds : tuple of ndarray
        Lower and upper ends of the parameters.
    design : mapping
        Arrays (row,).
    score : ndarray (row,)
    weights : ndarray (resample, row)
        How often each row occurs in each resample.
    seed : int
        Of the search.

    Returns
    -------
    Fit
    """
    columns = {name: values[:, None] for name, values in design.items()}

    def cost(thetas: np.ndarray) -> np.ndarray:
        return ((curve(thetas, columns) - score[:, None]) ** 2).sum(axis=0)

    found = differential_evolution(
        cost,
        list(zip(*bounds, strict=True)),
        seed=seed,
        vectorized=True,
        updating="deferred",
        polish=False,  # that is what comes next
        **_SEARCH,
    )
    best = _descend(curve, found.x, bounds, design, score, np.ones(len(score)))
    resampled = [_descend(curve, best, bounds, design, score, times) for times in weights]
    return Fit(best, np.stack(resampled), score - curve(best, design))


def _descend(
    curve: Callable[[np.ndarray, Design], np.ndarray],
    start: np.ndarray,
    bounds: Bounds,
    design: Design,
    score: np.ndarray,
    times: np.ndarray,
) -> np.ndarray:
    """Nearest minimum of the squared errors of rows that each count so many times.

    It is what ``curve_fit`` runs for parameters with bounds, without the covariance, which nobody
    reads here and which cannot be computed where a parameter is not identified.
    """
    rows = times > 0
    here = {name: values[rows] for name, values in design.items()}
    target, root = score[rows], np.sqrt(times[rows])
    found = least_squares(
        lambda theta: root * (curve(theta, here) - target),
        start,
        bounds=bounds,
        x_scale="jac",
        max_nfev=1000,
    )
    return found.x
