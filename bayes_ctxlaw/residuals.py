"""Whether scores at nearly the same prompt length miss the law alike.

Noise falls on every score by itself. Where all checkpoints lie below the law at one prompt length
of a task and above it at another, the curve has a turn that the law does not have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEAR = 1.5
"""Prompts are near to each other up to this ratio of their lengths."""


@dataclass(frozen=True)
class Alike:
    """How much alike residuals are, and where most.

    Attributes
    ----------
    share : float
        Moran's I: correlation of two residuals of a task whose prompts are near to each other, mean
        over draws. 0 if they are independent; not a number if there are no two such.
    p_value : float
        Probability under the fit that residuals are that much alike.
    task : str
        The task that contributes most.
    low, high : float
        Prompt lengths around which its residuals are lowest and highest, in tokens.
    """

    share: float
    p_value: float
    task: str
    low: float
    high: float


def alike(
    residuals: np.ndarray, task: np.ndarray, prompt_tokens: np.ndarray, seed: int = 0
) -> Alike:
    """Compare residuals of scores at nearly the same prompt length.

    Parameters
    ----------
    residuals : ndarray (draw, row)
        Standard normal under the fit, as from ``log_likelihood.residuals``.
    task : ndarray (row,)
    prompt_tokens : ndarray (row,)
        Tokens.
    seed : int
        Of the replicated residuals.

    Returns
    -------
    Alike

    Notes
    -----
    Moran's I is taken over pairs of rows of
    one task whose prompts differ by a factor of `NEAR` at most, draw by draw, and compared with
    that of independent residuals: a posterior predictive p-value. Whether all residuals are larger
    or smaller than they should be does not matter to it.

    References
    ----------
    Moran (1950), doi:10.2307/2332142; Rubin (1984), doi:10.1214/aos/1176346785, on the p-value.

    Examples
    --------
    >>> tokens = np.repeat([1e3, 1e4], 10)
    >>> shared = np.repeat([-0.8, 0.8], 10)  # of all checkpoints alike
    >>> found = alike(np.tile(shared, (200, 1)), np.full(20, "qa"), tokens)
    >>> found.p_value < 0.01, found.low, found.high
    (True, 1000.0, 10000.0)
    """
    near = _Pairs.of(task, np.log(prompt_tokens))
    if not near.count:
        return Alike(np.nan, np.nan, "", np.nan, np.nan)
    observed = near.moran(residuals)
    replicated = near.moran(np.random.default_rng([seed, 5]).standard_normal(residuals.shape))
    # The observed one counts among its replicates, so that no probability is zero.
    p_value = (1 + np.count_nonzero(replicated >= observed)) / (1 + len(observed))
    mean = residuals.mean(axis=0)
    products = near.products(mean)
    sums = {name: products[task == name].sum() for name in dict.fromkeys(task.tolist())}
    worst = max(sums, key=sums.__getitem__)
    around = (near.sums(mean) / near.neighbours)[own := task == worst]
    ends = prompt_tokens[own][[int(around.argmin()), int(around.argmax())]]
    return Alike(float(observed.mean()), float(p_value), worst, *map(float, ends))


@dataclass(frozen=True)
class _Pairs:
    """Rows sorted by task and prompt length, and which stretch of them is near to each."""

    order: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def of(cls, task: np.ndarray, log_tokens: np.ndarray) -> _Pairs:
        _, code = np.unique(task, return_inverse=True)
        reach = np.log(NEAR) * (1.0 + 1e-9)
        # Tasks so far apart on one axis that no stretch goes from one to another.
        span = log_tokens.max() - log_tokens.min() + 2.0 * reach
        place = log_tokens + code * span
        order = np.argsort(place, kind="stable")
        place = place[order]
        first = np.searchsorted(place, place - reach, side="left")
        return cls(order, first, np.searchsorted(place, place + reach, side="right"))

    @property
    def neighbours(self) -> np.ndarray:
        """Rows near to each row, itself included."""
        return self._by_row(self.last - self.first)

    @property
    def count(self) -> int:
        """Ordered pairs of two rows."""
        return int((self.last - self.first - 1).sum())

    def _by_row(self, values: np.ndarray) -> np.ndarray:
        out = np.empty_like(values)
        out[..., self.order] = values
        return out

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums over the rows near to each row, itself included: the shape of `values`."""
        upto = np.cumsum(values[..., self.order], axis=-1)
        upto = np.concatenate([np.zeros((*values.shape[:-1], 1)), upto], axis=-1)
        return self._by_row(upto[..., self.last] - upto[..., self.first])

    def products(self, values: np.ndarray) -> np.ndarray:
        """Of each row with the sum of the others near to it."""
        return values * (self.sums(values) - values)

    def moran(self, values: np.ndarray) -> np.ndarray:
        """Moran's I of every draw."""
        return self.products(values).sum(axis=-1) / self.count / (values**2).mean(axis=-1)
