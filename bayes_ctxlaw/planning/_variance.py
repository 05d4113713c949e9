"""How much of a variance is expected to go once something is observed, from joint draws."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from bayes_ctxlaw.errors import SpecificationError

DRAWS_PER_TERM = 20
"""Draws that every term of a regression needs."""


def explained(target: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, float]:
    """Expected reduction of a variance, Var(f) - E Var(f | y), from draws of f and y together.

    Parameters
    ----------
    target : ndarray
        Draws of f, (chain, draw, place).
    scores : ndarray
        Draws of y with its noise, (chain, draw, row).

    Returns
    -------
    by_place : ndarray
        (place,). Free of the bias that fitting as many terms as there are brings.
    error : float
        Monte Carlo standard error of their mean.

    Raises
    ------
    SpecificationError
        Too few draws for so many rows.

    Notes
    -----
    Linear in normal scores is exact where all is normal; cubic where a score bends towards an end
    of its scale, and blind to outliers of the noise.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> f = rng.normal(size=(4, 5000, 1))
    >>> y = f + rng.normal(size=f.shape)
    >>> round(float(explained(f, y)[0][0]), 1)
    0.5
    """
    chains, draws, places = target.shape
    size = chains * draws
    f = target.reshape(size, places)
    f = f - f.mean(axis=0)
    terms = _terms(scores.reshape(size, -1))
    basis, scale, _ = np.linalg.svd(terms, full_matrices=False)
    basis = basis[:, scale > 1e-9 * np.sqrt(size)]
    fitted = basis @ (basis.T @ f)
    rank = basis.shape[1]
    after = (f - fitted) ** 2 * (size / (size - 1 - rank))
    gained = (f**2 * (size / (size - 1)) - after).reshape(chains, draws, places)
    import arviz as az

    by_place = gained.mean(axis=(0, 1))
    error = float(az.mcse(gained.mean(axis=2))) if rank else 0.0
    return by_place, error


def _terms(scores: np.ndarray) -> np.ndarray:
    """Powers of the normal scores of every column, centred, (draw, term)."""
    from scipy.stats import rankdata

    size, rows = scores.shape
    degree = 3 if 3 * rows * DRAWS_PER_TERM <= size else 1
    if degree * rows * DRAWS_PER_TERM > size:
        raise SpecificationError(
            f"{rows} rows cannot be weighed together with {size} draws: fit with more draws, at "
            f"least {DRAWS_PER_TERM * rows}, or split the candidate."
        )
    normal = ndtri((rankdata(scores, axis=0) - 0.5) / size)
    terms = np.concatenate([normal**power for power in range(1, degree + 1)], axis=1)
    terms -= terms.mean(axis=0)
    spread = terms.std(axis=0)
    return terms[:, spread > 1e-9] / spread[spread > 1e-9]
