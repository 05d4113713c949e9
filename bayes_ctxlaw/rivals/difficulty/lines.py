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
    information = np.diag(weights)
    return LineDraws(*_line(x, y, information, weights.sum(), slope, noise, size, rng))


def _line(
    x: np.ndarray,
    y: np.ndarray,
    information: np.ndarray,
    points: float,
    slope: tuple[float, float],
    scale: float,
    size: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws of intercept, slope and scale.

    `information` is the inverse covariance of the `y` in units of the squared scale, of which they
    tell as much as so many independent `points`.
    """
    worth = 4.0
    design = np.column_stack([np.ones_like(x), x])
    prior = np.diag([1e-6, (scale / slope[1]) ** 2])
    centre = np.array([0.0, slope[0]])
    precision = prior + design.T @ information @ design
    mean = np.linalg.solve(precision, prior @ centre + design.T @ information @ y)
    off, away = y - design @ mean, mean - centre
    squares = off @ information @ off + away @ prior @ away
    sd = np.sqrt((worth * scale**2 + squares) / rng.chisquare(worth + points, size))
    root = np.linalg.cholesky(np.linalg.inv(precision))
    both = mean + sd[:, None] * (rng.standard_normal((size, 2)) @ root.T)
    return both[:, 0], both[:, 1], sd


@dataclass(frozen=True)
class TrendDraws:
    """Draws of a line, and of how far the points stay away from it.

    Parameters
    ----------
    x, y : ndarray (point,)
    intercept, slope, scale : ndarray (draw,)
        The line, and the standard deviation of what stays.
    inverse : ndarray (point, point)
        Of the covariance of the points around the line, over the squared scale.
    """

    x: np.ndarray
    y: np.ndarray
    intercept: np.ndarray
    slope: np.ndarray
    scale: np.ndarray
    inverse: np.ndarray

    def at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Heights at places, one for each draw, and the standard deviation around them."""
        near = _alike(x[:, None], self.x)
        pull = near @ self.inverse
        left = self.y - self.intercept[:, None] - self.slope[:, None] * self.x
        height = self.intercept + self.slope * x + (pull * left).sum(axis=1)
        open_ = np.clip(1.0 - (pull * near).sum(axis=1), 0.0, 1.0)
        return height, self.scale * np.sqrt(open_)


REACH = 1.0
"""Distance, on the logit scale, over which what is off a line fades to 1/e."""


def _alike(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.exp(-np.abs(x - y) / REACH)


def trend_draws(
    x: np.ndarray,
    y: np.ndarray,
    apart: np.ndarray,
    slope: tuple[float, float],
    scale: float,
    size: int,
    rng: np.random.Generator,
) -> TrendDraws:
    """Draws from the posterior of a line that points leave together: kriging.

    What is off the line at one place is off it nearby as well, as if the line were bent. So it goes
    on from the last point, not from the line.

    Parameters
    ----------
    x, y : ndarray (point,)
    apart : ndarray (point,)
        Variance of what each point has by itself, over that of what stays.
    slope : tuple of float
        Mean and standard deviation of the prior of the slope; the intercept has a flat one.
    scale : float
        Standard deviation of what stays that the prior expects, worth four points.
    size : int
    rng : numpy.random.Generator

    References
    ----------
    Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, section 2.7.

    Examples
    --------
    >>> x = np.array([0.0, 1.0, 2.0])
    >>> y = np.array([0.0, 1.0, 1.5])  # bends
    >>> rng = np.random.default_rng(1)
    >>> draws = trend_draws(x, y, np.full(3, 0.01), (1.0, 0.1), 0.2, 500, rng)
    >>> height, sd = draws.at(np.full(500, 2.0))
    >>> bool(abs(height.mean() - 1.5) < 0.02), bool(sd.mean() < 0.05)
    (True, True)
    """
    inverse = np.linalg.inv(_alike(x[:, None], x) + np.diag(apart))
    return TrendDraws(x, y, *_line(x, y, inverse, len(x), slope, scale, size, rng), inverse)
