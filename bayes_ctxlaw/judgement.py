"""Whether a fit may be relied on, and how its predictions fared: tables and sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.law import PARAMETERS
from bayes_ctxlaw.likelihoods import exact_scores

MAX_R_HAT = 1.01
ESS_PER_CHAIN = 100
MIN_E_BFMI = 0.3
"""Limits of Vehtari et al. (2021) and, for E-BFMI, of Betancourt (2016, arXiv:1604.00695)."""

R_HAT = "largest R-hat"
"""Name of the check that chains agree; of a single chain there is none."""

ESS = ("smallest bulk effective sample size", "smallest tail effective sample size")
"""Names of these checks."""

DIVERGENCES = "divergent transitions"
"""Name of the check that no transition diverged."""

# The names of PyMC and of nutpie for the same thing; a fit of this package has the first.
_FLAGS = (
    (("diverging",), DIVERGENCES),
    (("reached_max_treedepth", "maxdepth_reached"), "transitions at the largest tree depth"),
)


def convergence(idata: xr.DataTree, derived: bool = False) -> pd.DataFrame:
    """Check whether the chains of a fit agree and hold enough independent draws.

    Parameters
    ----------
    idata : xarray.DataTree
        From ``law.fit``.
    derived : bool
        Look at A … delta of every combination of labels as well, which are functions of the rest.

    Returns
    -------
    pandas.DataFrame
        Index: the check. Columns ``value``, ``wanted`` (text) and ``passed``. R-hat and effective
        sample sizes are the worst over population values, scales, effects and overdispersion;
        an element that they cannot be computed for counts as failed. E-BFMI is that of the worst
        chain, over all steps of the sampler where it took several for every draw. What the sampler
        did not record is left out.

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

    posterior = idata["posterior"].to_dataset() if derived else sampled(idata)
    stats = idata["sample_stats"].to_dataset()
    with np.errstate(all="ignore"):
        r_hat = _worst(az.rhat(posterior), posterior, np.max)
        bulk = _worst(az.ess(posterior, method="bulk"), posterior, np.min)
        tail = _worst(az.ess(posterior, method="tail"), posterior, np.min)
    least = ESS_PER_CHAIN * posterior.sizes["chain"]
    agree = f"below {MAX_R_HAT:g}"
    if posterior.sizes["chain"] == 1:
        agree += ", of two chains or more"
    rows = [
        (R_HAT, r_hat, agree, r_hat < MAX_R_HAT),
        (ESS[0], bulk, f"above {least}", bulk > least),
        (ESS[1], tail, f"above {least}", tail > least),
    ]
    if "energy" in stats:
        with np.errstate(all="ignore"):
            lowest = float(_e_bfmi(stats).min(skipna=False))
        rows.append(("lowest E-BFMI", lowest, f"above {MIN_E_BFMI:g}", lowest > MIN_E_BFMI))
    for names, text in _FLAGS:
        counts = [int(stats[name].sum()) for name in names if name in stats]
        if counts:
            rows.append((text, counts[0], "0", counts[0] == 0))
    return pd.DataFrame(rows, columns=["check", "value", "wanted", "passed"]).set_index("check")


def _e_bfmi(stats: xr.Dataset) -> xr.DataArray:
    """E-BFMI of every chain, over all steps of the sampler where draws are thinned.

    Energies of draws several steps apart are nearly independent whatever the sampler does, and
    would pass. Trees of other samplers, and of earlier versions, have nothing between draws.
    """
    if "energy_change" in stats:
        change = stats["energy_change"]
    else:
        change = stats["energy"].diff("draw")
    return (change**2).mean("draw") / stats["energy"].var("draw", ddof=1, skipna=False)


def sampled(idata: xr.DataTree) -> xr.Dataset:
    """Posterior without A … delta: they are functions of the rest, and may be very many."""
    posterior = idata["posterior"].to_dataset()
    return posterior.drop_vars([name for name in PARAMETERS if name in posterior])


_DECIMALS = {R_HAT: 4, "lowest E-BFMI": 2}


def values_in_words(checks: pd.DataFrame) -> list[str]:
    """Values of a table of `convergence` as they are shown: ratios with decimals, counts without.

    Examples
    --------
    >>> values_in_words(pd.DataFrame({"value": [1.00213, 812.3]}, index=["largest R-hat", "ESS"]))
    ['1.0021', '812']
    """
    return [f"{value:.{_DECIMALS.get(name, 0)}f}" for name, value in checks["value"].items()]


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
    flat = np.concatenate([np.ravel(v) for v in found])
    # Chains that never moved at all say nothing, and pass no check.
    return float(worst(flat)) if flat.size else np.nan


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
    rows["score"] = exact_scores(prediction)
    rows["covered"] = inside(prediction)
    rows["mean_absolute_error"] = (rows["score"] - rows["median"]).abs()
    rows["mean_width"] = rows["upper"] - rows["lower"]
    # A list: a task may be called as all of them together are.
    groups = [*rows.groupby("task", sort=False), ("all tasks", rows)]
    found = [
        {
            "points": len(group),
            "covered": int(group["covered"].sum()),
            "coverage": group["covered"].mean(),
            "mean_absolute_error": group["mean_absolute_error"].mean(),
            "mean_width": group["mean_width"].mean(),
        }
        for _, group in groups
    ]
    return pd.DataFrame(found, index=pd.Index([label for label, _ in groups], name="task"))


def inside(prediction: xr.Dataset) -> np.ndarray:
    """Which observed scores lie inside their interval, ends included."""
    score = exact_scores(prediction)
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
    total = held_out_scores(prediction).iloc[-1]
    return (
        f"{total['covered']:.0f} of {total['points']:.0f} held-out scores lie inside their "
        f"{interval_name(prediction)}; the median is off by {total['mean_absolute_error']:.4f} on "
        f"average, and the mean width of the intervals is {total['mean_width']:.4f} (scores run "
        "from 0 to 1)."
    )
