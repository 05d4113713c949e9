"""Draws from the prior, and scores simulated from them: what a law expects before it sees data.

For prior predictive checks, recovery tests and calibration. Whatever comes from here is simulated
and says so in its attributes.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayes_ctxlaw.discrepancy import loadings
from bayes_ctxlaw.encoding import Encoding, level_dim
from bayes_ctxlaw.likelihoods import BETA_LIKELIHOODS
from bayes_ctxlaw.predict import Predictor
from bayes_ctxlaw.priors import GAMMA_SHAPE, Prior, gamma_unit, scale_name
from bayes_ctxlaw.specification import Specification


def prior_draws(
    spec: Specification, encoding: Encoding, size: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draws of population values, scales, effects, discrepancies and overdispersion.

    Parameters
    ----------
    spec : Specification
    encoding : Encoding
        Its labels are those that effects are drawn for.
    size : int
        Number of draws.
    rng : numpy.random.Generator

    Returns
    -------
    dict of str to ndarray
        By name as in the posterior; draws first, labels last.
    """
    draws: dict[str, np.ndarray] = {}
    for parameter in spec.terms.parameters:
        prior = spec.priors[parameter]
        draws[f"mu_{parameter}"] = prior.loc + prior.scale * rng.standard_normal(size)
        for level in spec.levels_of(parameter, encoding):
            key, labels = scale_name(parameter, level), encoding.labels[level]
            draws[key] = _positive(spec.priors[key], rng, size)
            if len(labels) > 1:
                unit = rng.standard_normal((size, len(labels)))
                draws[f"{parameter}_{level_dim(level)}"] = draws[key][:, None] * unit
    if spec.terms.strays:
        scale = _positive(spec.priors["discrepancy_sd"], rng, size)
        matrix = loadings(encoding)
        unit = rng.standard_normal((size, len(matrix)))
        draws |= {"discrepancy_sd": scale, "discrepancy": scale[:, None] * (unit @ matrix.T)}
    tasks = len(encoding.labels["task"])
    phi = _positive(spec.priors["overdispersion"], rng, (size, tasks))
    if spec.likelihood in BETA_LIKELIHOODS:
        # The likelihood cuts the prior off there, and so what is drawn from it.
        while (beyond := phi >= 1.0).any():
            phi[beyond] = _positive(spec.priors["overdispersion"], rng, int(beyond.sum()))
    draws["overdispersion"] = phi
    return draws


def _positive(prior: Prior, rng: np.random.Generator, size: int | tuple[int, ...]) -> np.ndarray:
    """Draws of a standard deviation."""
    if prior.kind == "zero_avoiding":
        return rng.gamma(GAMMA_SHAPE, gamma_unit(prior.scale), size)
    return np.abs(prior.scale * rng.standard_normal(size))


def simulate_scores(
    spec: Specification,
    encoding: Encoding,
    draws: dict[str, np.ndarray],
    at: xr.Dataset,
    seed: int,
    kind: str = "response",
) -> np.ndarray:
    """Scores at the rows of a design, one set for each draw.

    Parameters
    ----------
    spec, encoding
        What the draws are of.
    draws : dict of str to ndarray
        From `prior_draws`.
    at : xr.Dataset
        Design.
    seed : int
        Of the noise and of new labels.
    kind : {"response", "llm", "law"}

    Returns
    -------
    ndarray
        (draw, row).
    """
    blocks = Predictor(spec, encoding, draws, seed).blocks(at, kind)
    return np.concatenate(list(blocks), axis=1)
