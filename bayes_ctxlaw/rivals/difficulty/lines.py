"""Straight lines with their uncertainty: what is left over, against what can be predicted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LineDraws:
    """Draws of intercept, slope and noise of a line.

    Parameters
    ----------
    intercept, slope, noise : ndarray (draw,)
    """

    intercept: np.ndarray
    slope: np.ndarray
    noise: np.ndarray

    def at(self, x: np.ndarray) -> np.ndarray:
        """Heights, one for each draw."""
        return self.intercept + self.slope * x


def line_draws(
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    slope: tuple[float, float],
    noise: float,
    size: int,
    rng: np.random.Generator,
) -> LineDraws:
    """Draws from the posterior of a line, by the conjugate normal and inverse gamma.

    Parameters
    ----------
    x, y, weights : ndarray (point,)
        A point of weight w counts as w points.
    slope : tuple of float
        Mean and standard deviation of the prior of the slope; the intercept has a flat one.
    noise : float
        Standard deviation around the line that the prior expects, worth four points.
    size : int
    rng : numpy.random.Generator

    References
    ----------
    Gelman et al. (2013), Bayesian Data Analysis, section 14.8.

    Examples
    --------
    >>> x = np.linspace(0, 1, 50)
    >>> draws = line_draws(x, 1 + 2 * x, np.ones(50), (0, 10), 0.01, 100, np.random.default_rng(1))
    >>> round(float(draws.slope.mean()), 1)
    2.0
    """
    worth = 4.0
    design = np.column_stack([np.ones_like(x), x])
    prior = np.diag([1e-6, (noise / slope[1]) ** 2])
    centre = np.array([0.0, slope[0]])
    precision = prior + design.T @ (weights[:, None] * design)
    mean = np.linalg.solve(precision, prior @ centre + design.T @ (weights * y))
    squares = (weights * (y - design @ mean) ** 2).sum() + (mean - centre) @ prior @ (mean - centre)
    freedom = worth + weights.sum()
    sd = np.sqrt((worth * noise**2 + squares) / rng.chisquare(freedom, size))
    root = np.linalg.cholesky(np.linalg.inv(precision))
    both = mean + sd[:, None] * (rng.standard_normal((size, 2)) @ root.T)
    return LineDraws(both[:, 0], both[:, 1], sd)
