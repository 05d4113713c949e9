"""Clustering on difficulty: forecasts from the pass counts of single items.

Items whose pass rates rise alike over a series of checkpoints are grouped; a law in compute is
fitted to each group; what follows a law is extrapolated, and mapped to the whole set. The algorithm
is that of Xu et al., arXiv:2502.17262.
"""

from bayes_ctxlaw.rivals.difficulty.forecaster import DifficultyClusters
from bayes_ctxlaw.rivals.difficulty.items import as_items, item_observations
from bayes_ctxlaw.rivals.difficulty.simulate import simulate_items

__all__ = ["DifficultyClusters", "as_items", "item_observations", "simulate_items"]
