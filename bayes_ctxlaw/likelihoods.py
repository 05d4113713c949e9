"""Observation models: how a published score scatters around the law.

Every family shares one form, P (1 - P) (1/n + φ²): the sampling of n items plus overdispersion φ of
the same shape, one φ per task. It is the variance of the normal, and of the beta and the
beta-binomial with φ² (1 - 1/n) in place of φ². The square of the scale of the Student-t is
P (1 - P) (`T4_SHARE`/n + φ²): sampling is normal, and this is the t that is nearest to it by
Kullback-Leibler divergence. Its 90 % intervals hold 92 % of scores that scatter by their items
only; with all of 1/n they would hold 97 %. Graded scores live on [0, 1] with both ends attainable,
so their normal and Student-t forms are censored there. P is drawn in by half an item before the
scale is taken, (n P + 1/2) / (n + 1), so that it never reaches 0.

The Student-t has four degrees of freedom: heavy enough tails for the odd cell that no smooth law
describes, and a distribution function in closed form, so the censored ends cost no special
function. It is fixed because a few hundred scores do not tell four from five.

``"least_squares"`` stands apart: a normal of constant standard deviation, not censored, whose mode
is the least-squares fit of the paper. It is there to compare with, not to forecast with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import (
    bdtr,
    betainc,
    betaincinv,
    betaln,
    gammaln,
    log_ndtr,
    ndtr,
    ndtri,
    xlog1py,
    xlogy,
)

from bayes_ctxlaw._wording import wording
from bayes_ctxlaw.errors import ObservationError, SpecificationError
from bayes_ctxlaw.law import array_module
from bayes_ctxlaw.schema import COUNT_METRICS

LIKELIHOODS = ("beta_binomial", "binomial", "student_t", "normal", "beta", "least_squares")
"""Observation models by name. ``"auto"`` takes the first for counts, the third otherwise."""

COUNT_LIKELIHOODS = ("beta_binomial", "binomial")

BETA_LIKELIHOODS = ("beta_binomial", "beta")
"""Those whose overdispersion is below 1: a beta of more has no shape."""

_EDGE = 1e-6  # keeps a count's P off 0 and 1, so that no count is impossible
_LEAST_PHI = 1e-5  # overdispersion that log gammas can still tell from none
_ROUNDING = 5e-4  # half a unit of a score printed to three decimals
_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
T4_SHARE = 0.6906
"""Square of the scale of the Student-t with four degrees of freedom nearest to a standard normal:
it has the largest mean log-density under it."""

_LEAST_PLACE = 1e-9  # a residual of six standard deviations
FEWEST_BETA_ITEMS = 30
_UNKNOWN_ITEMS = 1000.0  # edge correction where the number of items is unknown


def item_counts(ds: xr.Dataset) -> np.ndarray:
    """Items behind every score; NaN where unknown."""
    if "n_items" not in ds:
        return np.full(ds.sizes["obs_id"], np.nan)
    return ds["n_items"].values.astype(float)


def correct_counts(obs: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Whole number of items right, and how far each score is from being that share of the items.

    Where ``n_correct`` is given it is that, and the score beside it may be a rounded one.
    """
    items = item_counts(obs)
    score = obs["score"].values.astype(float)
    counts = np.rint(score * items)
    distance = np.abs(score - counts / items)
    if "n_correct" in obs:
        given = obs["n_correct"].values.astype(float)
        known = np.isfinite(given) & np.isfinite(items)
        counts, distance = np.where(known, given, counts), np.where(known, 0.0, distance)
    return counts, distance


def _all_counts(obs: xr.Dataset, distance: np.ndarray) -> bool:
    """Whether every score is a count of its items, or is a rounded one by its metric."""
    if (distance < 1e-6).all():
        return True
    metrics = set(obs["metric"].values.astype(str)) if "metric" in obs else {""}
    counted = {metric.lower() for metric in metrics} <= set(COUNT_METRICS)
    return counted and bool((distance <= _ROUNDING).all())


def exact_scores(obs: xr.Dataset) -> np.ndarray:
    """Scores as what they are counts of says, where the table has them rounded.

    Predictive draws of counts are whole numbers of items. A score of 2/3 that was written as 0.667
    would lie above each of them that is the same.

    Parameters
    ----------
    obs : xr.Dataset
        With ``score``; blank where there is none.

    Returns
    -------
    ndarray
        Of every row: ``n_correct`` over ``n_items`` where both are known; the nearest count over
        ``n_items`` where all scores are counts by `choose_likelihood`; the score as it is else.

    Examples
    --------
    >>> rows = {"score": [0.667], "n_items": [3], "metric": ["accuracy"]}
    >>> rows = xr.Dataset({name: ("obs_id", value) for name, value in rows.items()})
    >>> exact_scores(rows).round(6).tolist()
    [0.666667]
    """
    score = obs["score"].values.astype(float)
    counts, distance = correct_counts(obs)
    scored = np.isfinite(score)
    if not _all_counts(obs.isel(obs_id=scored), distance[scored]):
        given = obs["n_correct"].values.astype(float) if "n_correct" in obs else np.nan
        scored &= np.isfinite(given)
    known = scored & np.isfinite(counts)
    return np.divide(counts, item_counts(obs), out=score.copy(), where=known)


def check_beta_items(items: np.ndarray) -> None:
    """Refuse a beta for scores of few items.

    Scores are drawn in by half an item for it: of few items, much of its density lies where no
    score can be, and of a single one nothing is left.

    Parameters
    ----------
    items : ndarray
        Of every row; blank where unknown.

    Raises
    ------
    ObservationError
    """
    few = items < FEWEST_BETA_ITEMS  # a blank is not
    if few.any():
        raise ObservationError(
            f"{wording().argument('likelihood', 'beta')} needs {FEWEST_BETA_ITEMS} items behind "
            f"every score or more; {few.sum()} row(s) have fewer, the fewest {items[few].min():g}. "
            f"Use {wording().argument('likelihood', 'beta_binomial')} where scores are counts, and "
            f"{wording().argument('likelihood', 'student_t')} where they are graded."
        )


def choose_likelihood(obs: xr.Dataset, name: str = "auto") -> str:
    """Observation model for the given scores.

    Parameters
    ----------
    obs : xr.Dataset
        Observations.
    name : str
        ``"auto"`` or one of `LIKELIHOODS`. ``"auto"`` takes ``"beta_binomial"`` if every score
        is a count of its ``n_items``, and ``"student_t"`` otherwise.

    Returns
    -------
    str

    Raises
    ------
    SpecificationError
        If the name is unknown.
    ObservationError
        If counts are asked for and a score is not a count of its ``n_items``.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> choose_likelihood(bcl.load_dataset("helmet_icl"))
    'student_t'
    """
    if name not in ("auto", *LIKELIHOODS):
        allowed = ", ".join(map(repr, ("auto", *LIKELIHOODS)))
        raise SpecificationError(f"likelihood={name!r} is not one of {allowed}.")
    _, distance = correct_counts(obs)
    if name == "auto":
        return "beta_binomial" if _all_counts(obs, distance) else "student_t"
    if name in COUNT_LIKELIHOODS:
        bad = np.flatnonzero(~(distance <= _ROUNDING))
        if bad.size:
            rows = ", ".join(str(obs["obs_id"].values[i]) for i in bad[:5])
            first, said = bad[0], wording().argument
            raise ObservationError(
                f"{said('likelihood', name)} needs scores that are whole numbers of items over "
                f"`n_items`. {bad.size} row(s) are not ({rows}{', …' if bad.size > 5 else ''}): "
                f"the first has score {obs['score'].values[first]:g} with n_items "
                f"{item_counts(obs)[first]:g}. Correct them, or use "
                f"{said('likelihood', 'student_t')} for graded scores."
            )
    if name == "beta":
        check_beta_items(item_counts(obs))
    return name


def edge_and_inverse(name: str, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half an item as a share, 0.5/(n+1), and 1/n; where n is unknown, of 1000 items and 0.

    For the Student-t the second is `T4_SHARE` of it.
    """
    known = ~np.isnan(items)
    n = np.where(known, items, _UNKNOWN_ITEMS)
    share = T4_SHARE if name == "student_t" else 1.0
    return 0.5 / (n + 1.0), np.where(known, share / n, 0.0)


def noise_sd(mean: Any, phi: Any, edge: Any, inverse_items: Any) -> Any:
    """Standard deviation (Student-t: scale) of a graded score around P; arrays or tensors."""
    p = edge + (1.0 - 2.0 * edge) * mean
    return (p * (1.0 - p) * (inverse_items + phi**2)) ** 0.5


def t4_logpdf(t: Any) -> Any:
    """Log-density of the standard Student-t with four degrees of freedom; array or tensor."""
    xp = array_module(t)
    return math.log(3.0 / 8.0) - 2.5 * xp.log1p(t * t / 4.0)


def t4_logcdf(t: Any) -> Any:
    """Log of its distribution function, accurate in both tails; array or tensor.

    With s = t / sqrt(1 + t²/4), F = (2 + s)² (4 − s) / 32; for negative t, 2 + s is written as
    4 / ((1 + t²/4)(2 − s)), which does not cancel.

    Examples
    --------
    >>> round(float(np.exp(t4_logcdf(np.array(-2.1318)))), 3)
    0.05
    """
    xp = array_module(t)
    where = np.where if xp is np else xp.switch
    low = xp.minimum(t, 0.0)
    q = 1.0 + low * low / 4.0
    s = low / xp.sqrt(q)
    lower = 2.0 * xp.log(4.0 / (q * (2.0 - s))) + xp.log(4.0 - s)
    high = xp.maximum(t, 0.0)
    r = high / xp.sqrt(1.0 + high * high / 4.0)
    upper = 2.0 * xp.log(2.0 + r) + xp.log(4.0 - r)
    return where(t < 0.0, lower, upper) - math.log(32.0)


def _censored(value: Any, location: Any, scale: Any, logpdf: Any, logcdf: Any) -> Any:
    """Log-density of a location-scale family censored to [0, 1]; finite at both ends."""
    xp = array_module(location)
    where = np.where if xp is np else xp.switch
    inside = logpdf((value - location) / scale) - xp.log(scale)
    at_zero = logcdf(-location / scale)
    at_one = logcdf((location - 1.0) / scale)
    return where(value <= 0.0, at_zero, where(value >= 1.0, at_one, inside))


def censored_t_logp(value: Any, location: Any, scale: Any) -> Any:
    """Log-density of the Student-t(4) censored to [0, 1]."""
    return _censored(value, location, scale, t4_logpdf, t4_logcdf)


def censored_normal_logp(value: Any, location: Any, scale: Any) -> Any:
    """Log-density of the normal censored to [0, 1]; arrays or tensors."""
    if array_module(location) is np:
        log_cdf = log_ndtr
    else:
        from pymc.distributions.dist_math import normal_lcdf

        def log_cdf(t: Any) -> Any:
            return normal_lcdf(0.0, 1.0, t)

    def log_pdf(t: Any) -> Any:
        return -0.5 * t * t - _HALF_LOG_2PI

    return _censored(value, location, scale, log_pdf, log_cdf)


def beta_concentration(mean: Any, phi: Any, inverse_items: Any) -> Any:
    """Concentration a + b of the beta whose variance is P (1 - P) (1/n + φ² (1 - 1/n))."""
    return 1.0 / (inverse_items + phi**2 * (1.0 - inverse_items)) - 1.0


def add_likelihood(name: str, mean: Any, phi: Any, data: Mapping[str, Any]) -> None:
    """Add the observed variable to the PyMC model in context.

    Parameters
    ----------
    name : str
        One of `LIKELIHOODS`.
    mean, phi : tensor
        P and the overdispersion, one per observation.
    data : mapping
        ``"score"``, ``"n_correct"``, ``"n_items"``, ``"edge"``, ``"inverse_items"``.
    """
    import pymc as pm

    if name in COUNT_LIKELIHOODS:
        p = _EDGE + (1.0 - 2.0 * _EDGE) * mean
        if name == "binomial":
            pm.Binomial(
                "n_correct", n=data["n_items"], p=p, observed=data["n_correct"], dims="obs_id"
            )
            return
        # Below this the beta-binomial is a binomial, and PyMC's log gammas have no digits left.
        size = 1.0 / pm.math.maximum(phi, _LEAST_PHI) ** 2 - 1.0
        pm.BetaBinomial(
            "n_correct",
            n=data["n_items"],
            alpha=p * size,
            beta=(1.0 - p) * size,
            observed=data["n_correct"],
            dims="obs_id",
        )
        return
    if name == "beta":
        # A beta density has no mass at 0 and 1: scores are drawn in by half an item, as P is.
        p = data["edge"] + (1.0 - 2.0 * data["edge"]) * mean
        size = beta_concentration(p, phi, data["inverse_items"])
        score = data["edge"] + (1.0 - 2.0 * data["edge"]) * data["score"]
        pm.Beta("score", alpha=p * size, beta=(1.0 - p) * size, observed=score, dims="obs_id")
        return
    if name == "least_squares":
        pm.Normal("score", mean, phi, observed=data["score"], dims="obs_id")
        return
    scale = noise_sd(mean, phi, data["edge"], data["inverse_items"])
    student = name == "student_t"
    pm.CustomDist(
        "score",
        mean,
        scale,
        logp=censored_t_logp if student else censored_normal_logp,
        random=_random_t if student else _random_normal,
        observed=data["score"],
        dims="obs_id",
    )


def log_likelihood(name: str, mean: np.ndarray, phi: np.ndarray, obs: xr.Dataset) -> np.ndarray:
    """Log-density of observed scores around P, as in the model of `add_likelihood`.

    Parameters
    ----------
    name : str
        One of `LIKELIHOODS`.
    mean, phi : ndarray
        P and overdispersion; their last axis is along the observations.
    obs : xr.Dataset
        Observations.

    Returns
    -------
    ndarray
        Shaped like `mean`.

    Examples
    --------
    >>> obs = xr.Dataset({"score": ("obs_id", [0.5]), "n_items": ("obs_id", [2])})
    >>> round(float(np.exp(log_likelihood("binomial", np.array([0.5]), 0.0, obs))[0]), 6)
    0.5
    """
    items, score = item_counts(obs), obs["score"].values.astype(float)
    if name in COUNT_LIKELIHOODS:
        p, (right, _) = _EDGE + (1.0 - 2.0 * _EDGE) * mean, correct_counts(obs)
        wrong = items - right
        ways = gammaln(items + 1.0) - gammaln(right + 1.0) - gammaln(wrong + 1.0)
        if name == "binomial":
            return ways + xlogy(right, p) + xlog1py(wrong, -p)
        a, b = _shapes(p, phi)
        return ways + betaln(a + right, b + wrong) - betaln(a, b)
    edge, inverse = edge_and_inverse(name, items)
    if name == "beta":
        p, value = (edge + (1.0 - 2.0 * edge) * v for v in (mean, score))
        size = beta_concentration(p, phi, inverse)
        a, b = p * size, (1.0 - p) * size
        return xlogy(a - 1.0, value) + xlog1py(b - 1.0, -value) - betaln(a, b)
    if name == "least_squares":
        return -0.5 * ((score - mean) / phi) ** 2 - np.log(phi) - _HALF_LOG_2PI
    censored = censored_t_logp if name == "student_t" else censored_normal_logp
    return censored(score, mean, noise_sd(mean, phi, edge, inverse))


def distribution_at(
    name: str, mean: np.ndarray, phi: np.ndarray, obs: xr.Dataset, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Probability of a score below the observed one, and of one not above it.

    Parameters
    ----------
    name : str
        One of `LIKELIHOODS`.
    mean, phi : ndarray
        P and overdispersion; their last axis is along the observations.
    obs : xr.Dataset
        Observations.
    rng : numpy.random.Generator
        For the beta-binomial, whose distribution function is a sum over all counts: it is taken
        as that of the binomial at a draw of its probability, right in the mean over draws.

    Returns
    -------
    tuple of ndarray
        Both shaped like `mean`. They differ where a score has probability: counts, and the ends.
    """
    items, score = item_counts(obs), obs["score"].values.astype(float)
    if name in COUNT_LIKELIHOODS:
        p, (right, _) = _EDGE + (1.0 - 2.0 * _EDGE) * mean, correct_counts(obs)
        if name == "beta_binomial":
            p = rng.beta(*_shapes(p, phi))
        return _binomial_at(right, items, p)
    edge, inverse = edge_and_inverse(name, items)
    if name == "beta":
        p, value = (edge + (1.0 - 2.0 * edge) * v for v in (mean, score))
        size = beta_concentration(p, phi, inverse)
        at = betainc(p * size, (1.0 - p) * size, value)
    elif name == "least_squares":
        at = ndtr((score - mean) / phi)
        return at, at
    else:
        unit = (score - mean) / noise_sd(mean, phi, edge, inverse)
        at = np.exp(t4_logcdf(unit)) if name == "student_t" else ndtr(unit)
    # What lies beyond an end is a score at it.
    return np.where(score <= 0.0, 0.0, at), np.where(score >= 1.0, 1.0, at)


def _shapes(p: np.ndarray, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both shapes of the beta distribution of a beta-binomial's probabilities."""
    # Below this the beta-binomial is a binomial, and log gammas have no digits left.
    size = 1.0 / np.maximum(phi, _LEAST_PHI) ** 2 - 1.0
    return p * size, (1.0 - p) * size


def _binomial_at(
    right: np.ndarray, items: np.ndarray, p: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    n = items.astype(np.int64)
    below = np.where(right > 0, bdtr(np.maximum(right - 1.0, 0.0), n, p), 0.0)
    return below, bdtr(right, n, p)


def normal_residuals(
    name: str, mean: np.ndarray, phi: np.ndarray, obs: xr.Dataset, rng: np.random.Generator
) -> np.ndarray:
    """Residuals of observed scores, of a standard normal distribution in every draw of the model.

    Parameters
    ----------
    name : str
        One of `LIKELIHOODS`.
    mean, phi : ndarray
        P and overdispersion; their last axis is along the observations.
    obs : xr.Dataset
        Observations.
    rng : numpy.random.Generator
        Places a score that has probability by itself, and draws probabilities of the beta-binomial.

    Returns
    -------
    ndarray
        Shaped like `mean`.

    Notes
    -----
    A residual is the standard normal quantile of the score's place in its distribution, drawn at
    random within what probability the score has, the same share of it in all draws. For the
    beta-binomial, whose distribution function is a sum over all counts, a probability is drawn
    given the count; its own place among probabilities and the count's place given it are
    independent, and both residuals are put together by their standard deviations, as they add up
    where both are normal.

    References
    ----------
    Dunn and Smyth (1996), doi:10.2307/1390802.
    """
    share = rng.random(obs.sizes["obs_id"])

    def quantile(below: np.ndarray, upto: np.ndarray) -> np.ndarray:
        return ndtri(np.clip(below + share * (upto - below), _LEAST_PLACE, 1.0 - _LEAST_PLACE))

    if name != "beta_binomial":
        return quantile(*distribution_at(name, mean, phi, obs, rng))
    items, (right, _) = item_counts(obs), correct_counts(obs)
    a, b = _shapes(_EDGE + (1.0 - 2.0 * _EDGE) * mean, phi)
    p = rng.beta(a + right, b + items - right)
    at = betainc(a, b, p)
    # Variances over P (1 - P): of the probability, and of the share of items given it.
    between = 1.0 / (1.0 + a + b)
    within = (1.0 - between) / items
    parts = np.sqrt(between) * quantile(at, at)
    parts += np.sqrt(within) * quantile(*_binomial_at(right, items, p))
    return parts / np.sqrt(between + within)


def reaching(
    name: str, mean: np.ndarray, phi: np.ndarray, items: np.ndarray, unit: np.ndarray
) -> Callable[[float], np.ndarray]:
    """Of a score, the probability that a new evaluation around P scores as much or more.

    Parameters
    ----------
    name : str
        One of `LIKELIHOODS`.
    mean, phi : ndarray
        P and overdispersion, of one shape.
    items : ndarray
        Items of the new evaluation, broadcastable; NaN where unknown.
    unit : ndarray
        Places, broadcastable, between 0 and 1, at which the probabilities of a beta-binomial are
        drawn: its distribution function is a sum over all counts. Right in the mean over places.

    Returns
    -------
    callable
        Takes a score above 0, at most 1; returns probabilities shaped like `mean`.

    Examples
    --------
    >>> P, none = np.array([0.5]), np.zeros(1)
    >>> reaching("binomial", P, none, np.array([2.0]), none)(0.75).round(6).tolist()
    [0.25]
    """
    if name == "least_squares":
        return lambda score: ndtr((mean - score) / phi)
    if name in COUNT_LIKELIHOODS:
        p = _EDGE + (1.0 - 2.0 * _EDGE) * mean
        if name == "beta_binomial":
            p = betaincinv(*_shapes(p, phi), unit)
        known = ~np.isnan(items)
        n = np.where(known, items, 1.0)

        def of_counts(score: float) -> np.ndarray:
            fewest = np.maximum(np.ceil(score * n - 1e-9), 1.0)
            # Of an evaluation of no stated number of items the score is P itself.
            return np.where(known, 1.0 - bdtr(fewest - 1.0, n.astype(np.int64), p), p >= score)

        return of_counts
    edge, inverse = edge_and_inverse(name, items)
    if name == "beta":
        p = edge + (1.0 - 2.0 * edge) * mean
        size = beta_concentration(p, phi, inverse)

        def of_beta(score: float) -> np.ndarray:
            return 1.0 - betainc(p * size, (1.0 - p) * size, edge + (1.0 - 2.0 * edge) * score)

        return of_beta
    scale = noise_sd(mean, phi, edge, inverse)
    if name == "normal":
        return lambda score: ndtr((mean - score) / scale)
    return lambda score: np.exp(t4_logcdf((mean - score) / scale))


def _random_t(location: Any, scale: Any, rng: Any = None, size: Any = None) -> Any:
    return np.clip(location + scale * rng.standard_t(4, size=size), 0.0, 1.0)


def _random_normal(location: Any, scale: Any, rng: Any = None, size: Any = None) -> Any:
    return np.clip(location + scale * rng.standard_normal(size=size), 0.0, 1.0)


def draw_scores(
    name: str, mean: np.ndarray, phi: np.ndarray, items: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw new scores around P.

    Parameters
    ----------
    name : str
        One of `LIKELIHOODS`.
    mean, phi : ndarray
        P and overdispersion, of one shape.
    items : ndarray
        Items of the new evaluation, broadcastable; NaN where unknown.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray
        Scores in [0, 1], shaped like `mean`.
    """
    if name == "least_squares":
        return np.clip(mean + phi * rng.standard_normal(mean.shape), 0.0, 1.0)
    edge, inverse = edge_and_inverse(name, items)
    if name in ("student_t", "normal"):
        scale = noise_sd(mean, phi, edge, inverse)
        unit = (
            rng.standard_t(4, size=mean.shape)
            if name == "student_t"
            else rng.standard_normal(mean.shape)
        )
        return np.clip(mean + scale * unit, 0.0, 1.0)
    if name == "beta":
        check_beta_items(items)
        p = edge + (1.0 - 2.0 * edge) * mean
        size = beta_concentration(p, phi, inverse)
        drawn = rng.beta(np.maximum(p * size, 1e-12), np.maximum((1.0 - p) * size, 1e-12))
        return np.clip((drawn - edge) / (1.0 - 2.0 * edge), 0.0, 1.0)
    p = _EDGE + (1.0 - 2.0 * _EDGE) * mean
    if name == "beta_binomial":
        p = rng.beta(*_shapes(p, phi))
    known = ~np.isnan(items)
    n = np.broadcast_to(np.where(known, items, 1.0), p.shape)
    counts = rng.binomial(n.astype(np.int64), p) / n
    return np.where(np.broadcast_to(known, p.shape), counts, p)
