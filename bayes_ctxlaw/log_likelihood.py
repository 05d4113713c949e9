"""What a fit is judged by: log-likelihood and place of every score, and log-prior, draw by draw.

All of it is computed from the draws in NumPy; no model is built or compiled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from bayes_ctxlaw.encoding import Encoding, level_labels
from bayes_ctxlaw.likelihoods import distribution_at, log_likelihood, normal_residuals
from bayes_ctxlaw.posterior import check_complete, population_names
from bayes_ctxlaw.predict import Predictor
from bayes_ctxlaw.priors import Prior, gamma_unit, scale_name
from bayes_ctxlaw.schema import OBS_DIM
from bayes_ctxlaw.specification import Specification

SAMPLE = ("chain", "draw")

_MOST_RESIDUALS = 1000, 5_000_000  # draws; draws times rows: 40 MB an array
# Of thinned ones half may be left, and a p-value of fewer than a hundred is never below 0.01.
_LEAST_RESIDUALS = 200


def pointwise(law: Any) -> xr.DataArray:
    """Log-likelihood of every row of the fit, draw by draw.

    Parameters
    ----------
    law : ContextLaw
        Fitted.

    Returns
    -------
    xr.DataArray
        ``score`` (chain, draw, obs_id): 8 bytes for every draw of every row.

    Raises
    ------
    NotFittedError
        If the posterior is not complete.
    """
    mean, phi = _of_rows(law)
    return _along_rows(log_likelihood(law.spec.likelihood, mean, phi, law.obs), law)


def places(law: Any) -> xr.DataArray:
    """Where in its predictive distribution every score lies, draw by draw.

    A score that has probability by itself, a count or an end of the scale, is placed at random in
    what it has.

    Parameters
    ----------
    law : ContextLaw
        Fitted.

    Returns
    -------
    xr.DataArray
        ``score`` (chain, draw, obs_id), between 0 and 1.

    Raises
    ------
    NotFittedError
        If the posterior is not complete.

    Notes
    -----
    Means over draws are the probability integral transform. Of predictive draws they would be so
    as well, but so roughly in the tails that tests of uniformity depend on the seed. Single draws
    of the beta-binomial are noisy: `residuals` are made for use draw by draw.
    """
    mean, phi = _of_rows(law)
    rng = np.random.default_rng([law._seed, 4])
    share = rng.random(law.obs.sizes[OBS_DIM])
    below, upto = distribution_at(law.spec.likelihood, mean, phi, law.obs, rng)
    return _along_rows(below + share * (upto - below), law)


def residuals(law: Any) -> np.ndarray:
    """Normal residuals of every score in up to 1000 of the draws, of very many rows in fewer.

    Parameters
    ----------
    law : ContextLaw
        Fitted.

    Returns
    -------
    ndarray (draw, row)

    Raises
    ------
    NotFittedError
        If the posterior is not complete.
    """
    posterior, (draws, numbers) = law.idata["posterior"], _MOST_RESIDUALS
    most = max(min(draws, numbers // law.obs.sizes[OBS_DIM]), _LEAST_RESIDUALS)
    mean, phi = _of_rows(law, -(-posterior.sizes["chain"] * posterior.sizes["draw"] // most))
    rng = np.random.default_rng([law._seed, 6])
    return normal_residuals(law.spec.likelihood, mean, phi, law.obs, rng)


def log_prior(law: Any) -> xr.Dataset:
    """Log-density of every stated prior at the draws.

    Parameters
    ----------
    law : ContextLaw
        Fitted.

    Returns
    -------
    xr.Dataset
        Population values, scales and overdispersion by name, (chain, draw) and what else they
        vary over. Effects given their scale are left out: nobody stated their density, and
        scaling it by a power would change the hierarchy, not a prior.

    Raises
    ------
    NotFittedError
        If the posterior is not complete.

    Notes
    -----
    Left out too are scales of levels with a single label: the data do not bear on them, nor they
    on anything else.

    References
    ----------
    Kallioinen et al. (2024), doi:10.1007/s11222-023-10366-5, on hierarchical models.
    """
    posterior = law.idata["posterior"].to_dataset()
    check_complete(posterior, law.spec, law.encoding)
    return xr.Dataset(
        {
            name: posterior[name].copy(data=_log_density(prior, posterior[name].values))
            for name, prior in stated_priors(law.spec, law.encoding).items()
        }
    )


def stated_priors(spec: Specification, encoding: Encoding) -> dict[str, Prior]:
    """Priors that bear on the data, by the name of the variable in the posterior."""
    idle = {
        scale_name(parameter, level)
        for parameter in spec.terms.parameters
        for level in set(spec.levels_of(parameter, encoding))
        - set(spec.effects_of(parameter, encoding))
    }
    return {
        name: spec.priors[name.removeprefix("mu_")]
        for name in population_names(spec, encoding)
        if name not in idle and name.removeprefix("mu_") in spec.priors
    }


def _log_density(prior: Prior, values: np.ndarray) -> np.ndarray:
    """Of a variable of the posterior: population values are kept on the scale of `loc`."""
    if prior.kind == "zero_avoiding":
        unit = values / gamma_unit(prior.scale)
        return np.log(unit) - unit - np.log(gamma_unit(prior.scale))
    unit = (values - prior.loc) / prior.scale
    sides = 2.0 if prior.kind == "half_normal" else 1.0
    return -0.5 * unit**2 + np.log(sides / (prior.scale * np.sqrt(2.0 * np.pi)))


def _of_rows(law: Any, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """P and overdispersion of every row of the fit, (draw, row), as the likelihood has them.

    Of every `step`-th draw of each chain.
    """
    posterior = law.idata["posterior"].to_dataset().isel(draw=slice(None, None, step))
    predictor = Predictor.of(law.spec, law.encoding, posterior, law._seed)
    # No row of the fit lies beyond its data, so these are the fitted means.
    mean = np.concatenate(list(predictor.blocks(law.obs, "llm")), axis=1)
    return mean, predictor.overdispersion(level_labels(law.obs, "task"))


def _along_rows(values: np.ndarray, law: Any) -> xr.DataArray:
    posterior = law.idata["posterior"]
    shape = [posterior.sizes[name] for name in SAMPLE]
    coords = {name: posterior[name].values for name in SAMPLE}
    coords[OBS_DIM] = law.obs[OBS_DIM].values
    values = values.reshape(*shape, -1)
    return xr.DataArray(values, dims=(*SAMPLE, OBS_DIM), coords=coords, name="score")
