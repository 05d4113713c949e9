"""Observations + specification → a PyMC model. The only module that builds a graph of the law.

Every parameter is population value + effects, on the scale that `law.natural` takes, mostly the
log. Variables are named as in the posterior of a fit; those ending in ``_raw`` are standard normal,
so that an effect is its scale times them. A fit moves other variables (`density`), and has the
same posterior.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from bayes_ctxlaw.discrepancy import KNOT_DIM, knot_labels, straying
from bayes_ctxlaw.encoding import Encoding, level_dim
from bayes_ctxlaw.law import law_arguments, mean_score
from bayes_ctxlaw.likelihoods import (
    COUNT_LIKELIHOODS,
    add_likelihood,
    correct_counts,
    edge_and_inverse,
    item_counts,
)
from bayes_ctxlaw.priors import GAMMA_SHAPE, gamma_unit, scale_name
from bayes_ctxlaw.specification import Specification


def build_graph(obs: xr.Dataset, spec: Specification, encoding: Encoding) -> Any:
    """PyMC model of the law for these observations.

    Parameters
    ----------
    obs : xr.Dataset
        Observations, as from ``as_observations``.
    spec : Specification
        Law, likelihood, levels and priors.
    encoding : Encoding
        References and labels.

    Returns
    -------
    pymc.Model
        With dimensions ``obs_id`` and one per level, each with its labels.
    """
    import pymc as pm

    coords: dict[str, Any] = {
        level_dim(level): list(labels) for level, labels in encoding.labels.items()
    }
    coords["obs_id"] = obs["obs_id"].values
    if spec.terms.strays:
        coords[KNOT_DIM] = knot_labels(encoding)
    codes = {level: encoding.codes(obs, level) for level in encoding.labels}
    for level, every in codes.items():
        # An index out of range is garbage without an error under the default backend.
        if every.min() < 0 or every.max() >= len(encoding.labels[level]):
            raise AssertionError(f"codes of {level!r} do not match its labels")
    with pm.Model(coords=coords) as model:
        totals = {name: _total(name, spec, encoding, codes) for name in spec.terms.parameters}
        arguments = law_arguments(totals)
        if spec.terms.strays:
            arguments["discrepancy"] = _discrepancy(obs, spec, encoding)
        mean = mean_score(arguments, encoding.design(obs, spec.terms), spec.terms)
        phi = None
        if spec.likelihood != "binomial":
            phi = _positive("overdispersion", spec, dims="task")[codes["task"]]
        add_likelihood(spec.likelihood, mean, phi, _observed(obs, spec.likelihood))
    return model


def _positive(name: str, spec: Specification, dims: str | None = None) -> Any:
    """A standard deviation with its prior."""
    import pymc as pm

    prior = spec.priors[name]
    if prior.kind == "zero_avoiding":
        return pm.Gamma(name, alpha=GAMMA_SHAPE, beta=1.0 / gamma_unit(prior.scale), dims=dims)
    return pm.HalfNormal(name, prior.scale, dims=dims)


def _discrepancy(obs: xr.Dataset, spec: Specification, encoding: Encoding) -> Any:
    """By how much the task of every observation strays from the law at its prompt length."""
    import pymc as pm

    scale = _positive("discrepancy_sd", spec)
    unit = pm.Normal("discrepancy_raw", 0.0, 1.0, dims=KNOT_DIM)
    strays = straying(obs, encoding, spec.terms)
    knots = pm.Deterministic("discrepancy", scale * (strays.loadings @ unit), dims=KNOT_DIM)
    return knots[strays.below] * (1.0 - strays.share) + knots[strays.above] * strays.share


def _total(name: str, spec: Specification, encoding: Encoding, codes: dict[str, np.ndarray]) -> Any:
    """Population value + effects of a parameter, for every observation."""
    import pymc as pm

    prior = spec.priors[name]
    total = pm.Normal(f"mu_{name}", prior.loc, prior.scale)
    for level in spec.levels_of(name, encoding):
        key, dim = scale_name(name, level), level_dim(level)
        # With one label the data say nothing of this spread, but a prediction needs it.
        scale = _positive(key, spec)
        if level in spec.effects_of(name, encoding):
            unit = pm.Normal(f"{name}_{dim}_raw", 0.0, 1.0, dims=dim)
            effects = pm.Deterministic(f"{name}_{dim}", scale * unit, dims=dim)
            total = total + effects[codes[level]]
    return total


def _observed(obs: xr.Dataset, likelihood: str) -> dict[str, Any]:
    """Observed scores or counts as shared data of the model in context, and their constants."""
    import pymc as pm

    items = item_counts(obs)
    if likelihood in COUNT_LIKELIHOODS:
        counts = correct_counts(obs)[0].astype(np.int64)
        return {
            "n_items": items.astype(np.int64),
            "n_correct": pm.Data("observed_n_correct", counts, dims="obs_id"),
        }
    edge, inverse = edge_and_inverse(likelihood, items)
    score = obs["score"].values.astype(float)
    return {
        "score": pm.Data("observed_score", score, dims="obs_id"),
        "edge": edge,
        "inverse_items": inverse,
    }
