"""Which items belong together: pass rates as features, and the improved mean shift."""

from __future__ import annotations

import numpy as np

MIN_ITEMS = 10
"""Items below which a cluster dissolves."""

UNLABELLED = -1

_MANY = 2000  # items above which the search starts from bins of items, not from every item
_STEPS, _STOP = 300, 1e-3  # of `MeanShift`: most steps, and the share of the radius that is none
_LEAST_RADIUS = 1e-6  # where a tenth of all items are alike to the digit, so are their neighbours


def pass_rates(n_correct: np.ndarray, n_samples: np.ndarray) -> np.ndarray:
    """Features of difficulty: the share of samples passed, (item, checkpoint).

    Parameters
    ----------
    n_correct, n_samples : ndarray
        (checkpoint, item), checkpoints in order of size.

    Examples
    --------
    >>> pass_rates(np.array([[0, 5], [10, 10]]), np.array([[10, 10], [10, 10]])).tolist()
    [[0.0, 1.0], [0.5, 1.0]]
    """
    return (n_correct / n_samples).T


def radius(features: np.ndarray) -> float:
    """Radius of the clusters: the estimated bandwidth, at most √d / 10 of d checkpoints."""
    from sklearn.cluster import estimate_bandwidth

    limit = np.sqrt(features.shape[1]) / 10.0
    found = float(estimate_bandwidth(features, quantile=0.1))
    return max(min(found, limit), _LEAST_RADIUS)


def improved_mean_shift(
    features: np.ndarray, min_items: int = MIN_ITEMS, near: np.ndarray | None = None
) -> np.ndarray:
    """Cluster items by their pass rates; outliers stay without a label.

    Parameters
    ----------
    features : ndarray
        (item, checkpoint), of items that pass at least once.
    min_items : int
        Items below which a cluster dissolves.
    near : ndarray (item,), optional
        Clusters of items much like these, whose centres are all places to start from. It is a
        hundred times faster and finds no new clusters.

    Returns
    -------
    ndarray of int
        Cluster of each item, 0 that with the highest mean pass rate; -1 for none.

    Notes
    -----
    scikit-learn's ``MeanShift`` is run over the items without label, again and again, with the
    `radius` of all of them, from every item, or above 2,000 items from bins of items. Of what it
    finds, items farther than the radius from the centre of their cluster lose their label, and
    clusters of fewer than `min_items` dissolve. It ends when no label changes.

    References
    ----------
    Xu et al., arXiv:2502.17262.

    Examples
    --------
    >>> features = np.repeat([[0.1, 0.3], [0.6, 0.9]], 30, axis=0)
    >>> improved_mean_shift(features).tolist() == [1] * 30 + [0] * 30
    True
    """
    from sklearn.cluster import MeanShift, get_bin_seeds

    labels = np.full(len(features), UNLABELLED)
    if len(features) < min_items:
        return labels
    reach = radius(features)
    while (rows := np.flatnonzero(labels == UNLABELLED)).size >= min_items:
        own = features[rows]
        if near is not None:
            starts = _centres(features, near)
        else:
            starts = get_bin_seeds(own, reach) if len(own) > _MANY else own
        shift = MeanShift(bandwidth=reach, seeds=_climbed(own, starts, reach)).fit(own)
        away = np.linalg.norm(own - shift.cluster_centers_[shift.labels_], axis=1)
        found = np.where(away <= reach, shift.labels_, UNLABELLED)
        sizes = np.bincount(found[found >= 0], minlength=len(shift.cluster_centers_))
        kept = (found >= 0) & (sizes[found] >= min_items)
        if not kept.any():
            break
        labels[rows[kept]] = found[kept] + labels.max() + 1
        if near is not None:
            break
    return _renumbered(labels, features.mean(axis=1))


def _climbed(features: np.ndarray, starts: np.ndarray, reach: float) -> np.ndarray:
    """Where ``MeanShift`` comes from each start, one step before it stops.

    It climbs from one start after another, in Python, and nearly all of its time goes into looking
    for the neighbours of one point. Here all climb side by side, by the same neighbours and to the
    same stop; it is left with the few places to which they come, and finds the same clusters.
    """
    from sklearn.neighbors import NearestNeighbors

    neighbours = NearestNeighbors(radius=reach).fit(features)
    places, moving = np.array(starts, dtype=float), np.arange(len(starts))
    for _ in range(_STEPS):
        near = neighbours.radius_neighbors(places[moving], return_distance=False)
        # A start that is near no item stays, and is dropped later.
        means = np.array(
            [
                features[found].mean(axis=0) if len(found) else place
                for found, place in zip(near, places[moving], strict=True)
            ]
        )
        on = np.linalg.norm(means - places[moving], axis=1) > _STOP * reach
        places[moving[on]] = means[on]
        moving = moving[on]
        if not len(moving):
            break
    return np.unique(places, axis=0)


def _centres(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.array([features[labels == n].mean(axis=0) for n in np.unique(labels[labels >= 0])])


def _renumbered(labels: np.ndarray, level: np.ndarray) -> np.ndarray:
    """The same clusters, numbered from that with the highest level down."""
    names = np.unique(labels[labels >= 0])
    order = sorted(names, key=lambda name: -level[labels == name].mean())
    out = np.full(len(labels), UNLABELLED)
    for number, name in enumerate(order):
        out[labels == name] = number
    return out
