"""Forecasters to measure a hierarchical law against: other methods, and other ways to pool.

All share the protocol of ``backtest``: ``fit(obs)`` and ``predict(at, ci_prob=...)``, with the
intervals and attributes of ``ContextLaw.predict``.
"""

from bayes_ctxlaw.rivals.complete_pooling import CompletePoolingLaw
from bayes_ctxlaw.rivals.compute_only import ComputeOnlyLaw
from bayes_ctxlaw.rivals.difficulty import (
    DifficultyClusters,
    as_items,
    item_observations,
    simulate_items,
)
from bayes_ctxlaw.rivals.ladder import TaskLadder
from bayes_ctxlaw.rivals.least_squares import LeastSquaresLaw
from bayes_ctxlaw.rivals.no_pooling import NoPoolingLaw

__all__ = [
    "CompletePoolingLaw",
    "ComputeOnlyLaw",
    "DifficultyClusters",
    "LeastSquaresLaw",
    "NoPoolingLaw",
    "TaskLadder",
    "as_items",
    "item_observations",
    "simulate_items",
]
