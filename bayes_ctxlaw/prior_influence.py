"""How much of what a fit says of a parameter comes from its prior."""

from __future__ import annotations

from typing import Any

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw.encoding import BASE_LEVELS, level_dim
from bayes_ctxlaw.priors import scale_name

SENSITIVE = 0.05
"""Sensitivity to power scaling that counts, as in ArviZ and priorsense."""

CONFLICT = "prior-data conflict"
STRONG_PRIOR = "strong prior / weak likelihood"

# What one checkpoint adds, or one set of prompts, is left aside: a forecast is mostly of another.
_OF_THE_LAW = set(BASE_LEVELS) - {"llm"}
_MOST_CELLS = 100  # of a parameter: some 15 ms each


def prior_influence(law: Any, log_likelihood: xr.DataArray, log_prior: xr.Dataset) -> pd.DataFrame:
    """What the data and the prior say of every parameter, where the data have it.

    Parameters
    ----------
    law : ContextLaw
        Fitted.
    log_likelihood : xr.DataArray
        From ``log_likelihood.pointwise``.
    log_prior : xr.Dataset
        From ``log_likelihood.log_prior``.

    Returns
    -------
    pandas.DataFrame
        Index ``parameter`` and ``label``: a parameter with its effects of task, family and
        technique, in each combination of those that the data have (the hundred with most rows).
        The label is empty where it varies with none. Columns, on the scale of `Prior.loc`:
        ``prior_sd`` and ``posterior_sd``; ``shrinkage``, 1 − (posterior_sd / prior_sd)²;
        ``prior`` and ``likelihood``, the sensitivity to a power of the parameter's own priors (of
        its population value and of its scales) and of the likelihood; ``diagnosis``.

    Notes
    -----
    Shrinkage is the share of the precision that the data contributed, if prior and posterior are
    normal. Only the parameter's own priors are scaled: together the many priors of a hierarchy
    move every parameter, and would not tell which of them to look at.

    References
    ----------
    Kallioinen et al. (2024), doi:10.1007/s11222-023-10366-5. Shrinkage: Betancourt, "Towards a
    principled Bayesian workflow" (2018).
    """
    draws, prior_sd = _cells(law)
    tree = xr.DataTree.from_dict(
        {
            "posterior": draws,
            "log_likelihood": log_likelihood.to_dataset(),
            "log_prior": log_prior,
        }
    )
    by_likelihood = az.psense(tree, group="likelihood")
    tables = {}
    for name, value in draws.data_vars.items():
        of_prior = [f"mu_{name}"]
        of_prior += [scale_name(name, lv) for lv in law.spec.effects_of(name, law.encoding)]
        by_prior = az.psense(tree, var_names=[name], group="prior", group_var_names=of_prior)
        table = pd.DataFrame(
            {
                "prior_sd": prior_sd[name],
                "posterior_sd": value.std(("chain", "draw")).values,
                "prior": by_prior[name].values,
                "likelihood": by_likelihood[name].values,
            },
            index=pd.Index(value[f"{name}_label"].values, name="label"),
        )
        table.insert(2, "shrinkage", 1.0 - (table["posterior_sd"] / table["prior_sd"]) ** 2)
        tables[name] = table
    found = pd.concat(tables, names=["parameter"])
    sensitive = found["prior"] >= SENSITIVE
    known = found["likelihood"] >= SENSITIVE
    found["diagnosis"] = np.select([sensitive & known, sensitive], [CONFLICT, STRONG_PRIOR], "")
    return found


def _cells(law: Any) -> tuple[xr.Dataset, dict[str, float]]:
    """Draws of every parameter in the combinations of labels the data have; its prior's sd."""
    spec, encoding = law.spec, law.encoding
    posterior = law.idata["posterior"].to_dataset()
    draws, prior_sd = {}, {}
    for name in spec.terms.parameters:
        levels = [lv for lv in spec.effects_of(name, encoding) if set(lv.split(":")) <= _OF_THE_LAW]
        cells = np.zeros((1, 0), dtype=int)
        if levels:
            codes = np.column_stack([encoding.codes(law.obs, level) for level in levels])
            every, rows = np.unique(codes, axis=0, return_counts=True)
            cells = every[np.sort(np.argsort(-rows, kind="stable")[:_MOST_CELLS])]
        dims = ("chain", "draw", f"{name}_label")
        total = posterior[f"mu_{name}"].transpose("chain", "draw").values[..., None]
        variance = spec.priors[name].scale ** 2
        for level, code in zip(levels, cells.T, strict=True):
            effect = posterior[f"{name}_{level_dim(level)}"]
            total = total + effect.transpose("chain", "draw", level_dim(level)).values[..., code]
            variance += spec.priors[scale_name(name, level)].scale ** 2
        labels = [
            " / ".join(encoding.labels[lv][i] for lv, i in zip(levels, cell, strict=True))
            for cell in cells
        ]
        draws[name] = xr.DataArray(total, dims=dims, coords={dims[-1]: labels})
        prior_sd[name] = float(np.sqrt(variance))
    return xr.Dataset(draws).assign_coords(
        chain=posterior["chain"], draw=posterior["draw"]
    ), prior_sd
