"""The default law as a textbook would write it in PyMC: every level non-centred, ``pm.sample()``.

Not run by itself: ``sampling_speed.py`` samples it beside ContextLaw. It answers what the same
posterior costs when nobody thinks about the layout of the sampled variables.

The score is Student-t(4) censored to [0, 1]. ``pm.Censored`` of ``pm.StudentT`` is that density,
but its distribution function is an incomplete beta function, which makes a gradient dearer than
the closed form of four degrees of freedom does. The rival is given the cheaper one;
``build(..., censored=True)`` takes the other, and ``same_density.py`` compares both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from _common import Clock, Data, clocked, outcome

from bayes_ctxlaw.priors import GAMMA_SHAPE, gamma_unit


def _log_score(value: Any, location: Any, scale: Any) -> Any:
    """Log-density of a Student-t(4) score censored to [0, 1]."""
    t = (value - location) / scale
    inside = np.log(3.0 / 8.0) - 2.5 * pt.log1p(t**2 / 4.0) - pt.log(scale)
    # The mean lies in [0, 1], so what is censored is always a lower tail.
    t = pt.switch(value >= 1.0, location - 1.0, -location) / scale
    q = 1.0 + t**2 / 4.0
    s = t / pt.sqrt(q)
    at_an_end = 2.0 * pt.log(4.0 / (q * (2.0 - s))) + pt.log((4.0 - s) / 32.0)
    return pt.switch((value <= 0.0) | (value >= 1.0), at_an_end, inside)


def _draw_score(location: Any, scale: Any, rng: Any = None, size: Any = None) -> Any:
    return np.clip(location + scale * rng.standard_t(4, size=size), 0.0, 1.0)


def _mean_score(data: Data, total: dict[str, Any]) -> Any:
    """P, from the totals of the parameters."""
    compute = -pt.expm1(-pt.exp(total["A"] + pt.exp(total["alpha"]) * data.x))
    rise = pt.exp(total["beta"]) * data.z
    if "rho" in total:
        # log(ρ + (1 − ρ) e^rise), written so that no exponential overflows.
        rise = pt.softplus(rise - total["rho"]) - pt.softplus(-total["rho"])
    inside = compute * pm.math.sigmoid(total["B"] + rise)
    if "D" in total:
        eta = 2.0 * pm.math.sigmoid(total["eta"])
        lost = total["D"] + eta * data.w - pt.exp(total["psi"]) * data.x
        inside = inside * pm.math.sigmoid(-lost)
    # Below 0 the effective window moves at a quarter of the rate; 0.1 rounds the corner.
    delta = 0.25 * total["delta"] + 0.075 * pt.softplus(total["delta"] / 0.1)
    window = pm.math.sigmoid(-(2.0 + pt.exp(total["kappa"])) * (data.w - delta))
    return window * (data.chance + (1.0 - data.chance) * inside)


def build(obs: xr.Dataset, law: Any, censored: bool = False) -> pm.Model:
    """The model; `law` is a ContextLaw on which ``build_model(obs)`` was called.

    Parameters
    ----------
    censored : bool
        Take ``pm.Censored(pm.StudentT)`` instead of the closed form.
    """
    data = Data.of_law(obs, law)
    with pm.Model(coords=data.labels | {"obs_id": np.arange(len(data.score))}) as model:
        total = {}
        for name in data.terms.parameters:
            prior = data.priors[name]
            total[name] = pm.Normal(f"mu_{name}", prior.loc, prior.scale)
            for level in data.acting(name):
                sd = pm.HalfNormal(f"{name}_{level}_sd", data.priors[f"{name}_{level}_sd"].scale)
                if level in data.varying(name):
                    raw = pm.Normal(f"{name}_{level}_raw", 0.0, 1.0, dims=level)
                    effect = pm.Deterministic(f"{name}_{level}", raw * sd, dims=level)
                    total[name] = total[name] + effect[data.codes[level]]

        mean = _mean_score(data, total)
        unit = gamma_unit(data.priors["overdispersion"].scale)
        phi = pm.Gamma("overdispersion", alpha=GAMMA_SHAPE, beta=1.0 / unit, dims="task")
        p = data.edge + (1.0 - 2.0 * data.edge) * mean
        variance = p * (1.0 - p) * (data.inverse_items + phi[data.codes["task"]] ** 2)
        scale = pt.sqrt(variance)
        if censored:
            t4 = pm.StudentT.dist(nu=4.0, mu=mean, sigma=scale)
            pm.Censored("score", t4, lower=0.0, upper=1.0, observed=data.score, dims="obs_id")
        else:
            pm.CustomDist(
                "score",
                mean,
                scale,
                logp=_log_score,
                random=_draw_score,
                observed=data.score,
                dims="obs_id",
            )
    return model


def run(
    obs: xr.Dataset,
    law: Any,
    draws: int = 1000,
    tune: int | None = 1000,
    chains: int = 4,
    seed: int = 1,
) -> dict[str, Any]:
    """Sample with ``pm.sample``; PyMC itself picks nutpie, which is installed.

    ``tune=None`` leaves the length of tuning to nutpie, as a bare ``pm.sample()`` does.
    """
    import nutpie

    clock = Clock()
    with build(obs, law), clocked(nutpie, "sample") as sampling:
        idata = pm.sample(
            draws=draws, tune=tune, chains=chains, random_seed=seed, progressbar=False, quiet=True
        )
    spent = clock.read()
    stats = idata["sample_stats"]
    data = Data.of_law(obs, law)
    return outcome(
        data.dataset({name: idata["posterior"][name] for name in data.shared_names()}),
        stats["n_steps"].values,
        stats["diverging"].values.sum(),
        spent,
        sampling,
        note="non-centred throughout, pm.sample with its defaults (nutpie)",
    )
