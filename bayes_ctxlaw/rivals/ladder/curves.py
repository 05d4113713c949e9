"""Curves of a task ladder: loss from parameters, tokens or compute; accuracy from loss.

Pure array functions; the last axis of parameters is that of the curve's own.
"""

from __future__ import annotations

import numpy as np

Curve = tuple[np.ndarray, np.ndarray]


def loss_of_size(theta: np.ndarray, log_n: np.ndarray, log_d: np.ndarray) -> Curve:
    r"""Loss A/N^α + B/D^β + E, and its derivatives.

    Parameters
    ----------
    theta : ndarray (5,)
        log A, log B, α, β, E.
    log_n, log_d : ndarray (row,)
        Natural logs of parameters and of training tokens.

    Returns
    -------
    loss : ndarray (row,)
    derivatives : ndarray (5, row)

    Examples
    --------
    >>> import numpy as np
    >>> loss, _ = loss_of_size(np.array([0, 0, 1, 1, 0.5]), np.log([2.0]), np.log([4.0]))
    >>> loss.tolist()
    [1.25]
    """
    log_a, log_b, alpha, beta, floor = theta
    a, b = np.exp(log_a - alpha * log_n), np.exp(log_b - beta * log_d)
    return a + b + floor, np.stack([a, b, -a * log_n, -b * log_d, np.ones_like(a)])


def loss_of_compute(theta: np.ndarray, log_c: np.ndarray) -> Curve:
    """Loss A/C^α + E, and its derivatives; theta is log A, α, E."""
    log_a, alpha, floor = theta
    a = np.exp(log_a - alpha * log_c)
    return a + floor, np.stack([a, -a * log_c, np.ones_like(a)])


def score_of_size(theta: np.ndarray, log_n: np.ndarray, log_d: np.ndarray) -> Curve:
    """Accuracy a·σ(A/N^α + B/D^β + E) + b, and its derivatives; theta ends in a, b."""
    inner, slopes = loss_of_size(theta[:5], log_n, log_d)
    rise = sigmoid(inner)
    # As published: no accuracy is below a millionth, so that it has a logarithm.
    score = np.maximum(theta[5] * rise + theta[6], 1e-6)
    steep = theta[5] * rise * (1.0 - rise)
    return score, np.concatenate([slopes * steep, [rise, np.ones_like(rise)]])


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(−x)), without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(x)))


def score_of_loss(loss: np.ndarray, a: float, centre: float, k: float, b: float) -> np.ndarray:
    """Accuracy a / (1 + exp(−k (loss − centre))) + b; a is negative."""
    return a * sigmoid(k * (loss - centre)) + b


def score_of_cross_entropy(loss: np.ndarray, a: float, centre: float, k: float) -> np.ndarray:
    """Accuracy 1 − a·log σ(−k (loss − centre)); a is negative."""
    # Rounded as published: the valley is so flat that where a search ends depends on it.
    return 1.0 - a * np.log(np.maximum(1.0 - sigmoid(k * (loss - centre)), 1e-300))


def moving_average(values: np.ndarray, width: int) -> np.ndarray:
    """Mean of each value and up to `width` − 1 before it.

    Examples
    --------
    >>> moving_average(np.array([1.0, 3.0, 5.0, 7.0]), 2).tolist()
    [1.0, 2.0, 4.0, 6.0]
    """
    total = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    return (total[ends] - total[starts]) / (ends - starts)
