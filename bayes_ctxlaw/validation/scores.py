"""Scores of forecasts against what was then observed, and their standard errors.

CRPS and interval score are proper: in expectation, no forecast scores better than one that states
what the forecaster believes (Gneiting and Raftery 2007, doi:10.1198/016214506000001437). They are
computed by `scoringrules <https://github.com/frazane/scoringrules>`_.

There is no logarithmic score here. Scores of language models have mass at 0, at 1 and at whole
numbers of items besides their density; from draws, that mixture could only be had by a kernel
estimate, which is not proper there and depends on its bandwidth.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.judgement import inside

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Probabilities of the intervals whose coverage is counted."""

FORMS = ("draws", "interval", "point")
"""What a forecast consists of, which decides what it can be scored by."""

MEASURES = {
    "mae": "absolute_error",
    "crps": "crps",
    "interval_score": "interval_score",
    "coverage": "covered",
    "width": "width",
}
"""Columns of a table of scores, and the variables of single rows that they are means of."""


def crps(score: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of draws: the lower the better.

    Parameters
    ----------
    score : ndarray (row,)
        What was observed.
    draws : ndarray (row, draw)
        Posterior predictive draws.

    Returns
    -------
    ndarray (row,)
        In units of the score. It is that of the draws' own distribution: never below 0, and the
        absolute error where all draws are equal. With few draws (below some 200) a forecast
        scores visibly worse than the distribution the draws are of.

    References
    ----------
    Gneiting and Raftery (2007), doi:10.1198/016214506000001437.

    Examples
    --------
    >>> crps(np.array([0.0]), np.array([[0.0, 1.0]])).tolist()
    [0.25]
    """
    # Not at the top: scoringrules compiles its numba functions when it is imported (5 s), though
    # its NumPy functions are quick enough here.
    from scoringrules import crps_ensemble

    return np.asarray(crps_ensemble(score, draws, estimator="qd", backend="numpy"))


def interval_score(
    score: np.ndarray, lower: np.ndarray, upper: np.ndarray, ci_prob: float
) -> np.ndarray:
    """Score of an equal-tailed interval: its width, and a fine for what lies outside.

    Parameters
    ----------
    score, lower, upper : ndarray (row,)
        What was observed, and the interval.
    ci_prob : float
        Probability of the interval.

    Returns
    -------
    ndarray (row,)
        ``upper - lower`` plus 2 / (1 - ci_prob) times the distance of the score from the
        interval; the lower the better.

    References
    ----------
    Gneiting and Raftery (2007), doi:10.1198/016214506000001437, section 6.2.

    Examples
    --------
    >>> lower, upper = np.full(2, 0.4), np.full(2, 0.6)
    >>> interval_score(np.array([0.5, 0.7]), lower, upper, ci_prob=0.9).round(6).tolist()
    [0.2, 2.2]
    """
    from scoringrules import interval_score as of_interval

    return np.reshape(of_interval(score, lower, upper, 1.0 - ci_prob, backend="numpy"), score.shape)


def pit(score: np.ndarray, draws: np.ndarray, seed: int) -> np.ndarray:
    """Probability integral transform: where among its draws each score lies, between 0 and 1.

    Parameters
    ----------
    score : ndarray (row,)
        What was observed.
    draws : ndarray (row, draw)
    seed : int
        Scores that equal some draws (zeros, ones, counts) are placed among them at random.

    Returns
    -------
    ndarray (row,)
        Uniformly distributed if scores and draws come from one distribution, whatever it is and
        however few the draws are. Those of one checkpoint are not independent of each other.

    References
    ----------
    Czado, Gneiting and Held (2009), doi:10.1111/j.1541-0420.2009.01191.x.

    Examples
    --------
    >>> below, above = pit(np.array([-1.0, 2.0]), np.array([[0.0, 1.0], [0.0, 1.0]]), seed=1)
    >>> bool(0 <= below < 1 / 3 and 2 / 3 <= above < 1)
    True
    """
    less = (draws < score[:, None]).sum(axis=1)
    equal = (draws == score[:, None]).sum(axis=1)
    place = np.random.default_rng(seed).random(len(score))
    return (less + place * (equal + 1)) / (draws.shape[1] + 1)


def covered_at(score: np.ndarray, draws: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Whether each score lies inside equal-tailed intervals of several probabilities.

    Parameters
    ----------
    score : ndarray (row,)
    draws : ndarray (row, draw)
    levels : tuple of float
        Probabilities.

    Returns
    -------
    ndarray of bool (row, level)
        Ends included.

    Examples
    --------
    >>> covered_at(np.array([0.2]), np.linspace(0, 1, 101)[None], (0.5, 0.8)).tolist()
    [[False, True]]
    """
    tails = (1.0 - np.asarray(levels)) / 2.0
    ends = np.quantile(draws, np.concatenate([tails, 1.0 - tails]), axis=1).T
    lower, upper = np.split(ends, 2, axis=1)
    return (lower <= score[:, None]) & (score[:, None] <= upper)


def form_of(prediction: xr.Dataset) -> str:
    """What a prediction consists of: ``"draws"``, ``"interval"`` or ``"point"``.

    Parameters
    ----------
    prediction : xr.Dataset
        With ``median``, and ``lower`` and ``upper`` (absent or blank in a point forecast), and
        ``samples`` if there are draws.

    Returns
    -------
    str
        An interval of no width in every row is a point.

    Examples
    --------
    >>> form_of(xr.Dataset({"median": ("obs_id", [0.3])}))
    'point'
    """
    if "samples" in prediction:
        return "draws"
    if "lower" not in prediction and "upper" not in prediction:
        return "point"
    if "lower" not in prediction or "upper" not in prediction:
        return "interval"
    lower, upper = prediction["lower"].values, prediction["upper"].values
    blank = np.isnan(lower) & np.isnan(upper)
    return "point" if blank.all() or (lower == upper).all() else "interval"


def score_rows(
    score: np.ndarray,
    prediction: xr.Dataset,
    ci_prob: float,
    levels: tuple[float, ...] = LEVELS,
    seed: int = 0,
) -> xr.Dataset:
    """Score every row of a prediction.

    Parameters
    ----------
    score : ndarray (row,)
        What was observed.
    prediction : xr.Dataset
        ``mean`` and ``median``; ``lower`` and ``upper``; ``samples`` if the forecaster has draws.
        Along ``obs_id`` as `score` is.
    ci_prob : float
        Probability of the interval.
    levels : tuple of float
        Probabilities of further intervals, made from the draws.
    seed : int
        Of `pit`.

    Returns
    -------
    xr.Dataset
        Along ``obs_id`` the prediction (``mean``, ``median``, ``lower``, ``upper``) and its
        ``absolute_error`` (of the median), ``crps``, ``interval_score``, ``covered`` (1 or 0),
        ``width`` and ``pit``; along ``level`` too ``covered_at``. What the form of the forecast,
        in the attribute ``form``, does not allow is NaN: an interval without draws has no CRPS
        and no PIT. The CRPS of a point forecast is its absolute error; one that gives no interval
        has no coverage.

    Raises
    ------
    SpecificationError
        The prediction lacks a variable or a number, or an interval ends below where it starts.

    Examples
    --------
    >>> prediction = xr.Dataset({name: ("obs_id", [0.3]) for name in ("mean", "median")})
    >>> rows = score_rows(np.array([0.5]), prediction, ci_prob=0.9)
    >>> float(rows["crps"].item()), float(rows["covered"].item())
    (0.2, nan)
    """
    score = np.asarray(score, dtype=float)
    form = form_of(prediction)
    values = _numbers(prediction, form, len(score))
    unknown = np.full(len(score), np.nan)
    median, lower, upper = values["median"], values["lower"], values["upper"]
    values["absolute_error"] = np.abs(score - median)
    values["crps"] = values["absolute_error"] if form == "point" else unknown
    values["pit"] = unknown
    at_levels = np.full((len(score), len(levels)), np.nan)
    if form == "draws":
        draws = values.pop("samples")
        values["crps"] = crps(score, draws)
        values["pit"] = pit(score, draws, seed)
        at_levels = covered_at(score, draws, levels).astype(float)
    values["interval_score"] = values["covered"] = values["width"] = unknown
    if not np.isnan(lower).any():
        held = xr.Dataset(
            {n: ("obs_id", v) for n, v in values.items()} | {"score": ("obs_id", score)}
        )
        values["interval_score"] = interval_score(score, lower, upper, ci_prob)
        values["covered"] = inside(held).astype(float)
        values["width"] = upper - lower
    rows = xr.Dataset({name: ("obs_id", v) for name, v in values.items()}, attrs={"form": form})
    return rows.assign_coords(level=list(levels)).assign(
        covered_at=(("obs_id", "level"), at_levels)
    )


def _numbers(prediction: xr.Dataset, form: str, rows: int) -> dict[str, np.ndarray]:
    """The numbers of a prediction, checked; blank ends for a point without an interval."""
    faults, values = [], {}
    names = ["mean", "median"] + (["lower", "upper"] if form != "point" else [])
    for name in names:
        if name not in prediction:
            faults.append(f"there is no `{name}`")
            continue
        values[name] = np.asarray(prediction[name].values, dtype=float)
        if values[name].shape != (rows,):
            faults.append(f"`{name}` has shape {values[name].shape}, not ({rows},)")
        elif missing := int((~np.isfinite(values[name])).sum()):
            faults.append(f"`{name}` is no finite number in {missing} of {rows} rows")
    if form == "point":
        for name in ("lower", "upper"):
            given = prediction[name].values if name in prediction else np.full(rows, np.nan)
            values[name] = np.asarray(given, dtype=float)
    if form == "draws" and "obs_id" not in prediction["samples"].dims:
        dims = ", ".join(map(str, prediction["samples"].dims))
        faults.append(f"`samples` has the dims {dims}, and must have `obs_id`")
    elif form == "draws":
        dims = [dim for dim in prediction["samples"].dims if dim != "obs_id"]
        draws = prediction["samples"].transpose("obs_id", *dims).values
        values["samples"] = draws.reshape(len(draws), -1).astype(float)
        if len(draws) != rows or not np.isfinite(values["samples"]).all():
            faults.append(f"`samples` must hold finite draws for each of {rows} rows")
    if not faults and form != "point" and (values["lower"] > values["upper"]).any():
        number = int((values["lower"] > values["upper"]).sum())
        faults.append(f"`lower` is above `upper` in {number} of {rows} rows")
    if faults:
        raise SpecificationError(
            f"the prediction cannot be scored: {'; '.join(faults)}. A forecaster's predict(at, "
            "ci_prob=...) returns a Dataset with mean, median, lower and upper, one number for "
            "each row of `at`."
        )
    return values


def mean_and_error(values: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    """Mean, and its standard error when rows of one cluster are not independent.

    Parameters
    ----------
    values : ndarray (row,)
    clusters : ndarray (row,)
        Label of the cluster of each row, such as its checkpoint.

    Returns
    -------
    mean, error : float
        The error adds up deviations within clusters before it squares them (cluster-robust), each
        from the mean of the others (CR3, the jackknife over clusters), for a cluster with most of
        the rows draws the mean to itself; with one row a cluster it is the usual one. NaN with
        one cluster: nothing then tells how clusters differ. Rough with fewer than about ten.

    References
    ----------
    Cameron and Miller (2015), doi:10.3368/jhr.50.2.317, section VI.B.

    Examples
    --------
    >>> mean_and_error(np.array([1.0, 3.0]), np.array(["a", "b"]))
    (2.0, 1.0)
    >>> mean_and_error(np.array([1.0, 3.0]), np.array(["a", "a"]))
    (2.0, nan)
    """
    mean = float(np.mean(values))
    of_cluster = pd.Series(values - mean).groupby(np.asarray(clusters), sort=False)
    count = of_cluster.ngroups
    if count < 2 or math.isnan(mean):
        return mean, math.nan
    deviations = of_cluster.sum() / (1.0 - of_cluster.size() / len(values))
    total = float((deviations**2).sum()) * (count - 1) / count
    return mean, math.sqrt(total) / len(values)


def summarise(rows: pd.DataFrame, by: str, cluster: str) -> pd.DataFrame:
    """Mean scores with standard errors, by label and in all.

    Parameters
    ----------
    rows : pandas.DataFrame
        One row for each scored prediction, with the variables of `score_rows`, `by` and `cluster`.
    by : str
        Column to divide the rows by.
    cluster : str
        Column whose labels tell which rows are not independent.

    Returns
    -------
    pandas.DataFrame
        Index `by`, last ``all``, or ``all tasks``. Columns ``points``, ``clusters``, and for every
        one of `MEASURES` its mean and, ending in ``_se``, the standard error.

    Examples
    --------
    >>> rows = pd.DataFrame({"task": ["qa", "qa"], "llm": ["A", "B"], "absolute_error": [0.1, 0.3]})
    >>> rows[["crps", "interval_score", "covered", "width"]] = 0.5
    >>> table = summarise(rows, "task", "llm")
    >>> table.loc["qa", ["points", "mae", "mae_se"]].round(3).tolist()
    [2.0, 0.2, 0.1]
    """
    groups = [*rows.groupby(by, sort=False), (all_of(by), rows)]
    found = []
    for _, group in groups:
        of_cluster = group[cluster].to_numpy()
        found.append({"points": len(group), "clusters": group[cluster].nunique()})
        for measure, variable in MEASURES.items():
            mean, error = mean_and_error(group[variable].to_numpy(), of_cluster)
            found[-1] |= {measure: mean, f"{measure}_se": error}
    # A list: a label may be the same as that of all together.
    table = pd.DataFrame(found, index=pd.Index([label for label, _ in groups], name=by))
    return table.astype({"points": int, "clusters": int})


def all_of(by: str) -> str:
    """Label of the last row of a table: all of them together."""
    return "all tasks" if by == "task" else "all"
