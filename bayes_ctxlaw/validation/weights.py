"""Weights of a mixture of forecasts: the CRPS of a mixture, its least value, shares of draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

KEPT = 200
"""Draws by which the predictive distribution of a row is told."""

_RIDGE = 1e-6  # of the mean CRPS: makes weights of members that are all the same equal


def thinned(draws: np.ndarray, size: int = KEPT) -> np.ndarray:
    """Evenly spaced order statistics of the draws of every row.

    Parameters
    ----------
    draws : ndarray (row, draw)
    size : int

    Returns
    -------
    ndarray (row, size)
        Values that occur among the draws, so that zeros and ones stay what they are. Its
        distribution is nearer to that of all draws than a random choice of as many would be;
        draws that belong together in several rows do not stay so.

    Examples
    --------
    >>> thinned(np.arange(100.0)[None], 4).tolist()
    [[12.0, 37.0, 62.0, 87.0]]
    """
    places = (np.arange(size) + 0.5) / size
    return np.quantile(draws, places, axis=1, method="inverted_cdf").T


def crps_matrix(score: np.ndarray, draws: Sequence[np.ndarray]) -> np.ndarray:
    """Matrix Q by which the mean CRPS of every mixture of some forecasts is w'Qw.

    Parameters
    ----------
    score : ndarray (row,)
        What was observed.
    draws : sequence of ndarray (row, draw)
        Those of each forecast.

    Returns
    -------
    ndarray (forecast, forecast)
        Positive semidefinite; on the diagonal the CRPS of each forecast by itself.

    Notes
    -----
    With the weights' sum 1, the CRPS of a mixture is the integral of the square of
    Σ w_i (F_i - H), where F_i are the distribution functions of the draws and H is the step at
    the score. This equals Σ w_i E|X_i - y| - ½ ΣΣ w_i w_j E|X_i - X_j|.

    Examples
    --------
    >>> never, always = np.zeros((4, 1)), np.ones((4, 1))
    >>> crps_matrix(np.array([1.0, 1.0, 1.0, 0.0]), [never, always]).tolist()
    [[0.75, 0.0], [0.0, 0.25]]
    """
    total = np.zeros((len(draws), len(draws)))
    for row, observed in enumerate(score):
        of_row = [np.sort(of_one[row]) for of_one in draws]
        ends = np.sort(np.concatenate([*of_row, [observed]]))
        steps = ends[:-1]
        functions = [np.searchsorted(x, steps, side="right") / len(x) for x in of_row]
        away = np.stack(functions) - (steps >= observed)
        total += (away * np.diff(ends)) @ away.T
    return total / len(score)


def best_weights(matrix: np.ndarray) -> np.ndarray:
    """Weights, none negative and of sum 1, that make w'Qw least.

    Parameters
    ----------
    matrix : ndarray (forecast, forecast)
        Q from `crps_matrix`.

    Returns
    -------
    ndarray (forecast,)

    Notes
    -----
    The problem is that of non-negative least squares, which an active-set method solves exactly:
    v'Qv + (1 - Σv)² is least at v = s w, and at the best s it is q / (1 + q) with q = w'Qw.

    Examples
    --------
    >>> best_weights(np.array([[0.75, 0.0], [0.0, 0.25]])).round(3).tolist()
    [0.25, 0.75]
    """
    from scipy.optimize import nnls

    count = len(matrix)
    scale = np.trace(matrix) / count or 1.0
    values, vectors = np.linalg.eigh(matrix / scale + _RIDGE * np.eye(count))
    # Rounding may leave a root of a positive semidefinite matrix slightly below 0.
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    found, _ = nnls(np.vstack([root, np.ones(count)]), np.append(np.zeros(count), 1.0))
    return found / found.sum()


def allocate(weights: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers of sum `total` in proportion to weights, by the largest remainder.

    Parameters
    ----------
    weights : ndarray (forecast,)
        Of sum 1.
    total : int

    Returns
    -------
    ndarray of int (forecast,)
        Between equal remainders the first is served.

    Examples
    --------
    >>> allocate(np.array([0.5, 0.26, 0.24]), 10).tolist()
    [5, 3, 2]
    """
    exact = np.asarray(weights) * total
    # Rounded first: 0.3 of 10 is 2.9999999999999996 and yet 3.
    counts = np.floor(np.round(exact, 9)).astype(np.int64)
    short = total - counts.sum()
    order = np.argsort(-(exact - counts), kind="stable")
    counts[order[:short]] += 1
    return counts


def mix(
    draws: Mapping[str, np.ndarray], weights: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws of a mixture: as many as the longest forecast has, shared out by `allocate`.

    Parameters
    ----------
    draws : mapping of str to ndarray (draw, row)
        Those of each forecast.
    weights : ndarray (forecast,)
    rng : numpy.random.Generator

    Returns
    -------
    mixture : ndarray (draw, row)
        In any order, so that a part of the draws is like all of them. A draw is one of a forecast
        in all rows.
    forecast : ndarray of str (draw,)
        Which it is of.

    Examples
    --------
    >>> draws = {"low": np.zeros((8, 1)), "high": np.ones((2, 1))}
    >>> mixture, forecast = mix(draws, np.array([0.25, 0.75]), np.random.default_rng(1))
    >>> mixture.sum().item(), (forecast == "high").sum().item()
    (6.0, 6)
    """
    counts = allocate(weights, max(map(len, draws.values())))
    chosen = []
    for of_one, count in zip(draws.values(), counts, strict=True):
        # Evenly spaced over chains and draws; some come twice where a forecast has too few.
        places = (np.arange(count) + rng.random()) * len(of_one) / max(count, 1)
        chosen.append(of_one[places.astype(np.int64)])
    order = rng.permutation(counts.sum())
    forecast = np.repeat(np.array(list(draws), dtype=object), counts)
    return np.concatenate(chosen)[order], forecast[order]
