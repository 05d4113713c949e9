"""Whether a fit may be relied on, and how its predictions fared: tables and sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.law import PARAMETERS

MAX_R_HAT = 1.01
MIN_ESS = 400


def convergence(idata: xr.DataTree) -> pd.DataFrame:
    """Check whether the chains of a fit agree and hold enough independent draws.

    Parameters
    ----------
    idata : xarray.DataTree
        From ``law.fit``.

    Returns
    -------
    pandas.DataFrame
        Index: the check. Columns ``value``, ``wanted`` (text) and ``passed``. R-hat and effective
        sample sizes are the worst over population values, scales, effects and overdispersion;
        an element that they cannot be computed for counts as failed.

    References
    ----------
    Vehtari et al. (2021), doi:10.1214/20-BA1221.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> draws = np.random.default_rng(1).normal(size=(4, 500))
    >>> posterior = xr.Dataset({"mu_A": (("chain", "draw"), draws)})
    >>> stats = xr.Dataset({"diverging": (("chain", "draw"), np.zeros((4, 500), bool))})
    >>> tree = xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})
    >>> bool(convergence(tree)["passed"].all())
    True
    """
    import arviz as az

    posterior = idata["posterior"].to_dataset()
    # A … delta are functions of the others, and there may be very many of them.
    posterior = posterior.drop_vars([name for name in PARAMETERS if name in posterior])
    stats = idata["sample_stats"].to_dataset()
    with np.errstate(all="ignore"):
        r_hat = _worst(az.rhat(posterior), posterior, np.max)
        bulk = _worst(az.ess(posterior, method="bulk"), posterior, np.min)
        tail = _worst(az.ess(posterior, method="tail"), posterior, np.min)
    rows = [
        ("largest R-hat", r_hat, f"below {MAX_R_HAT:g}", r_hat < MAX_R_HAT),
        ("smallest bulk effective sample size", bulk, f"above {MIN_ESS}", bulk > MIN_ESS),
        ("smallest tail effective sample size", tail, f"above {MIN_ESS}", tail > MIN_ESS),
    ]
    for name, text in (
        ("diverging", "divergent transitions"),
        ("reached_max_treedepth", "transitions at the largest tree depth"),
    ):
        if name in stats:
            count = int(stats[name].sum())
            rows.append((text, count, "0", count == 0))
    return pd.DataFrame(rows, columns=["check", "value", "wanted", "passed"]).set_index("check")


def verdict(checks: pd.DataFrame) -> str:
    """Say in a sentence or two whether a fit may be relied on.

    Parameters
    ----------
    checks : pandas.DataFrame
        From `convergence`.

    Returns
    -------
    str
    """
    if checks["passed"].all():
        return "The chains agree and hold enough independent draws."
    failed = ", ".join(checks.index[~checks["passed"]])
    return (
        f"The fit does not pass: {failed}. Do not rely on its intervals; fit again with more draws "
        "and tuning."
    )


def _worst(values: xr.Dataset, posterior: xr.Dataset, worst: Any) -> float:
    """The worst element; NaN if one cannot be computed, unless it is the same in every draw."""
    found = []
    for name, value in values.data_vars.items():
        draws = posterior[name]
        moves = (draws.max(("chain", "draw")) > draws.min(("chain", "draw"))) | draws.isnull().any(
            ("chain", "draw")
        )
        found.append(value.values[moves.values])
    return float(worst(np.concatenate([np.ravel(v) for v in found])))


def held_out_scores(prediction: xr.Dataset) -> pd.DataFrame:
    """Compare predictions with the scores that were then observed, by task and in all.

    Parameters
    ----------
    prediction : xr.Dataset
        From ``law.predict`` at observations that were not in the fit, so that it has ``score``.

    Returns
    -------
    pandas.DataFrame
        Index ``task``, last ``all tasks``. Columns ``points``; ``covered``, those inside their
        interval; ``coverage``, their share; ``mean_absolute_error`` of the median; ``mean_width``
        of the intervals.

    Raises
    ------
    SpecificationError
        The prediction has no scores to compare with.

    Examples
    --------
    >>> import xarray as xr
    >>> values = {"task": ["qa", "qa"], "score": [0.5, 0.9], "median": [0.4, 0.5],
    ...           "lower": [0.3, 0.4], "upper": [0.6, 0.7]}
    >>> scores = held_out_scores(xr.Dataset({k: ("obs_id", v) for k, v in values.items()}))
    >>> int(scores.loc["all tasks", "covered"]), float(scores.loc["qa", "mean_absolute_error"])
    (1, 0.25)
    """
    if "score" not in prediction:
        raise SpecificationError(
            "the prediction has no `score` to compare with: predict at the held-out observations."
        )
    rows = prediction[["task", "score", "median", "lower", "upper"]].to_dataframe()
    unscored = int(rows["score"].isna().sum())
    if unscored or rows.empty:
        raise SpecificationError(
            f"{unscored} of {len(rows)} predictions have no score to compare with; select those "
            "that have one."
        )
    rows["covered"] = inside(prediction)
    rows["mean_absolute_error"] = (rows["score"] - rows["median"]).abs()
    rows["mean_width"] = rows["upper"] - rows["lower"]
    rows = pd.concat([rows, rows.assign(task="all tasks")])
    groups = rows.groupby("task", sort=False)
    table = groups[["mean_absolute_error", "mean_width"]].mean()
    table.insert(0, "points", groups.size())
    table.insert(1, "covered", groups["covered"].sum().astype(int))
    table.insert(2, "coverage", groups["covered"].mean())
    return table


def inside(prediction: xr.Dataset) -> np.ndarray:
    """Which observed scores lie inside their interval, ends included."""
    score = prediction["score"].values
    return (score >= prediction["lower"].values) & (score <= prediction["upper"].values)


def interval_name(prediction: xr.Dataset) -> str:
    """Interval and kind of a prediction in words: "90 % equal-tailed interval (response)"."""
    attrs = prediction.attrs
    text = f"{100 * attrs['ci_prob']:g} % {attrs.get('ci_kind', '')} interval"
    return " ".join(text.split()) + f" ({attrs.get('prediction_kind', 'prediction')})"


def held_out_sentence(prediction: xr.Dataset) -> str:
    """Say in one sentence how a prediction fared against the observed scores.

    Parameters
    ----------
    prediction : xr.Dataset
        As for `held_out_scores`.

    Returns
    -------
    str
    """
    total = held_out_scores(prediction).loc["all tasks"]
    return (
        f"{total['covered']:.0f} of {total['points']:.0f} held-out scores lie inside their "
        f"{interval_name(prediction)}; the median is off by {total['mean_absolute_error']:.4f} on "
        f"average, and the mean width of the intervals is {total['mean_width']:.4f} (scores run "
        "from 0 to 1)."
    )
