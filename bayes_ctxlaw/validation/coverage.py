"""Shares of scores inside their intervals, with the uncertainty of such a share."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.predict import fault_of_probability, is_probability
from bayes_ctxlaw.validation.result import Backtest, check_labels
from bayes_ctxlaw.validation.scores import mean_and_error


def coverage_table(result: Backtest, ci_prob: float = 0.9, cluster: str = "llm") -> pd.DataFrame:
    """Observed coverage of intervals of several probabilities, by forecaster.

    Parameters
    ----------
    result : Backtest
    ci_prob : float
        Confidence of the interval around each share.
    cluster : str
        Label whose rows are not independent of each other, as in ``Backtest.score_table``.

    Returns
    -------
    pandas.DataFrame
        Index ``forecaster`` and ``probability`` (of the interval). Columns ``coverage`` (share of
        held-out scores inside), ``lower`` and ``upper`` (see `share_interval`), ``points`` and
        ``effective`` (independent points that these are worth). A forecaster that gives intervals
        without draws has the row of the backtest's own probability; one of points alone has none.

    Raises
    ------
    SpecificationError
        The held-out rows have no such label, or `ci_prob` is no probability.
    """
    if not is_probability(ci_prob):
        raise SpecificationError(f"{fault_of_probability('ci_prob', ci_prob)}.")
    check_labels(result.predictions, cluster=cluster)
    predictions = result.predictions
    clusters = predictions[cluster].values
    own = predictions.attrs["ci_prob"]
    found = {}
    for name in predictions["forecaster"].values:
        rows = predictions.sel(forecaster=name)
        inside = {own: rows["covered"].values} | {
            float(level): rows["covered_at"].sel(level=level).values
            for level in predictions["level"].values
            if level != own
        }
        for probability in sorted(inside):
            if np.isnan(inside[probability]).any():
                continue
            share, effective = _effective(inside[probability], clusters, ci_prob)
            lower, upper = share_interval(share, effective, ci_prob)
            found[name, probability] = share, lower, upper, len(clusters), effective
    index = pd.MultiIndex.from_tuples(found, names=["forecaster", "probability"])
    columns = ["coverage", "lower", "upper", "points", "effective"]
    return pd.DataFrame(list(found.values()), index=index, columns=columns)


def _effective(inside: np.ndarray, clusters: np.ndarray, ci_prob: float) -> tuple[float, float]:
    """A share, and the number of independent rows that would tell it as well.

    That is the number of rows over the design effect, as of a survey in clusters; the quantiles of
    Student's t allow for how rough the latter is over few clusters (Korn and Graubard 1998). It is
    never less than clusters alone are worth, whose rows may all agree: as many as there are if each
    has as many rows, fewer where a few hold most of them (Kish 1965). A share of 0 or 1 shows no
    scatter to find it from, and so counts clusters.
    """
    from scipy.stats import t

    share, error = mean_and_error(inside, clusters)
    rows, sizes = len(inside), np.unique(clusters, return_counts=True)[1]
    groups = float(rows**2 / (sizes**2).sum())
    if math.isnan(error) or share in (0.0, 1.0):
        return share, groups
    # Clusters more alike than chance would have them are no more than chance: at least 1.
    design_effect = max(error**2 * rows / (share * (1.0 - share)), 1.0)
    place = 0.5 + ci_prob / 2.0
    rough = (t.ppf(place, rows - 1) / t.ppf(place, max(groups - 1.0, 1.0))) ** 2
    return share, max(rough * rows / design_effect, groups)


def share_interval(share: float, points: float, ci_prob: float = 0.9) -> tuple[float, float]:
    """Interval for the probability behind an observed share (Wilson's).

    Parameters
    ----------
    share : float
    points : float
        Independent points that the share is of; not always a whole number.
    ci_prob : float
        Its confidence.

    Returns
    -------
    lower, upper : float
        Never of no width, not even for a share of 0 or 1.

    References
    ----------
    Wilson (1927), doi:10.1080/01621459.1927.10502953.

    Examples
    --------
    >>> tuple(round(end, 3) for end in share_interval(0.5, 10))
    (0.269, 0.731)
    >>> tuple(round(end, 3) for end in share_interval(1.0, 10))
    (0.787, 1.0)
    """
    from scipy.stats import norm

    z = norm.ppf(0.5 + ci_prob / 2.0)
    centre = (share + z**2 / (2.0 * points)) / (1.0 + z**2 / points)
    half = z / (1.0 + z**2 / points)
    half *= math.sqrt(share * (1.0 - share) / points + z**2 / (4.0 * points**2))
    # Rounding alone would put the end at a share of 1 beyond it.
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
