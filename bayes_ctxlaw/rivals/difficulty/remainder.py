"""Items that are not predictable: lines that say how their scores move."""

from __future__ import annotations

import numpy as np
from scipy.special import logit

from bayes_ctxlaw.rivals.difficulty.grouping import TaskData
from bayes_ctxlaw.rivals.difficulty.lines import (
    LineDraws,
    TrendDraws,
    line_draws,
    trend_draws,
)

UNSOLVED = 0.1
"""An item is unsolved while no pass rate exceeds this share of the highest ones."""

NEAREST = 0.05
"""Log of compute: two checkpoints closer than this are one."""


def logit_mean(rate: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Logit of the mean pass rate of some items, drawn in by half a sample: (checkpoint,)."""
    n = samples.sum(axis=1)
    return logit((rate.mean(axis=1) * n + 0.5) / (n + 1.0))


def anchor_logit(data: TaskData, own: np.ndarray) -> np.ndarray:
    """Logit of every anchor's mean pass rate of some items, drawn in a little: (anchor,)."""
    n = 100.0 * np.count_nonzero(own)
    return logit((data.anchor[:, own].mean(axis=1) * n + 0.5) / (n + 1.0))


def threshold(rate: np.ndarray) -> float:
    """Pass rate below which an item is unsolved."""
    return UNSOLVED * float(np.quantile(rate[-1], 0.95))


APART, ANCHOR_APART = 0.1, 1.0
"""Variance of what one checkpoint has by itself in its score on the rest, and an anchor, over that
of what stays from one checkpoint to the next."""


def _recency(size: int) -> np.ndarray:
    return np.arange(1.0, size + 1.0) / size


def rest_line(
    data: TaskData,
    rest: np.ndarray,
    score: np.ndarray,
    anchors: np.ndarray,
    size: int,
    rng: np.random.Generator,
) -> TrendDraws:
    """Logit of the score on the rest against that on the subset."""
    height = logit_mean(data.rate[:, rest], data.samples[:, rest])
    return trend_draws(
        np.append(score, anchors),
        np.append(height, anchor_logit(data, rest)),
        np.append(np.full(len(score), APART), np.full(len(anchors), ANCHOR_APART)),
        slope=(0.5, 0.5),
        scale=0.1,
        size=size,
        rng=rng,
    )


def unsolved_line(data: TaskData, size: int, rng: np.random.Generator) -> LineDraws:
    """Logit of what items unsolved up to a checkpoint score at a later one, by log of log compute.

    As if the items unsolved today were to those of yesterday what those were to the ones of the day
    before.
    """
    rate, log_c = data.rate, np.log(data.compute)
    highest = np.maximum.accumulate(rate, axis=0)
    ahead, height, weights = [], [], []
    for first in range(len(log_c) - 1):
        open_ = highest[first] <= threshold(rate)
        for later in range(first + 1, len(log_c)):
            if np.count_nonzero(open_) and log_c[later] - log_c[first] > NEAREST:
                ahead.append(np.log(log_c[later] - log_c[first]))
                height.append(logit_mean(rate[later:, open_], data.samples[later:, open_])[0])
                # The pairs of one later checkpoint share its items: together they count as one.
                weights.append(_recency(len(log_c))[first] / later)
    return line_draws(
        np.array(ahead), np.array(height), np.array(weights), (1.0, 0.7), 0.3, size, rng
    )
