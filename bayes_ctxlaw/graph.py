"""Observations + specification → a PyMC model. The only module that builds a graph of the law.

Every parameter is population value + effects, on the log scale for A, α, B, β and κ and on δ
itself. Variables named ``…_raw`` are what the sampler moves, laid out by `geometry`; `effects`
says how they add up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from bayes_ctxlaw.effects import Assembly, Specification
from bayes_ctxlaw.encoding import Encoding, level_dim
from bayes_ctxlaw.geometry import Geometry
from bayes_ctxlaw.law import mean_score
from bayes_ctxlaw.likelihoods import (
    COUNT_LIKELIHOODS,
    add_likelihood,
    correct_counts,
    edge_and_inverse,
    item_counts,
)


class _ModelSource:
    """Variables of the PyMC model in context."""

    def normal(self, name: str, loc: Any, scale: Any, dim: str | None) -> Any:
        import pymc as pm

        return pm.Normal(name, loc, scale, dims=dim)

    def half_normal(self, name: str, scale: float, dim: str | None) -> Any:
        import pymc as pm

        return pm.HalfNormal(name, scale, dims=dim)


def build_graph(
    obs: xr.Dataset, spec: Specification, encoding: Encoding, geometry: Geometry
) -> Any:
    """PyMC model of the law for these observations.

    Parameters
    ----------
    obs : xr.Dataset
        Observations, as from ``as_observations``.
    spec : Specification
        Law, likelihood, levels and priors.
    encoding : Encoding
        References and labels.
    geometry : Geometry
        Layout of the sampled variables.

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
    with pm.Model(coords=coords) as model:
        assembly = Assembly(obs, spec, encoding, geometry).run(_ModelSource())
        mean = mean_score(assembly.natural(), assembly.design, spec.terms)
        phi = None
        if spec.likelihood != "binomial":
            scale = spec.priors["overdispersion"].scale
            phi = _ModelSource().half_normal("overdispersion", scale, "task")
            phi = phi[assembly.codes["task"]]
        add_likelihood(spec.likelihood, mean, phi, _observed(obs, spec.likelihood))
    return model


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
    edge, inverse = edge_and_inverse(items)
    score = obs["score"].values.astype(float)
    return {
        "score": pm.Data("observed_score", score, dims="obs_id"),
        "edge": edge,
        "inverse_items": inverse,
    }
