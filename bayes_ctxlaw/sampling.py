"""Compile a model once, sample it, and bring the sampler's statistics to the usual names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from bayes_ctxlaw.errors import SpecificationError

# What nutpie calls differently from PyMC; az.diagnose looks for the latter and would miss it.
_STATISTICS = {"maxdepth_reached": "reached_max_treedepth", "depth": "tree_depth", "logp": "lp"}
_KEPT = (
    "diverging", "energy", "n_steps", "step_size", "mean_tree_accept", "tree_depth",
    "reached_max_treedepth", "lp",
)  # fmt: skip

TARGET_ACCEPT = 0.95
"""Default of NUTS' target acceptance: the window's wall bends the posterior, and steps as long as
0.8 allows diverge where it does."""


@dataclass
class Compiled:
    """A model compiled for sampling.

    Attributes
    ----------
    model : pymc.Model
    kernel : nutpie compiled model
        Serves every refit that differs in the observed scores only.
    """

    model: Any
    kernel: Any

    def with_data(self, **data: np.ndarray) -> Compiled:
        """The same kernel with other values of the model's shared data."""
        return Compiled(self.model, self.kernel.with_data(**data))


def compile_model(model: Any, start: Mapping[str, np.ndarray] | None = None) -> Compiled:
    """Compile a model's log-density and gradient.

    Parameters
    ----------
    model : pymc.Model
    start : mapping of str to ndarray, optional
        Where chains start, by variable, before jitter.

    Returns
    -------
    Compiled
    """
    import nutpie

    for name, value in (start or {}).items():
        model.set_initval(model[name], np.asarray(value))
    return Compiled(model, nutpie.compile_pymc_model(model))


def _explain_start(model: Any) -> str:
    """Which variables make the log-density at the start not finite."""
    logps = model.point_logps(model.initial_point())
    bad = [name for name, value in logps.items() if not np.isfinite(value)]
    return ", ".join(bad) or "none by itself (the neighbourhood of the start is at fault)"


def sample(
    compiled: Compiled,
    *,
    draws: int,
    tune: int,
    chains: int,
    random_seed: int | None,
    progressbar: bool,
    thin: int = 1,
    target_accept: float = TARGET_ACCEPT,
) -> xr.DataTree:
    """Sample a compiled model.

    Parameters
    ----------
    compiled : Compiled
    draws, tune, chains : int
        Draws kept and discarded in each chain, and the number of chains.
    random_seed : int, optional
        The same seed gives the same draws, whatever the number of cores.
    progressbar : bool
    thin : int
        Steps taken for every draw kept. A divergence in any of them marks the draw.
    target_accept : float

    Returns
    -------
    xarray.DataTree
        Groups ``posterior`` (what was sampled) and ``sample_stats``.

    Raises
    ------
    SpecificationError
        If a number of draws or chains is not a whole number in range, or the log-density is
        not finite where chains start; the variables are named.
    """
    faults = [
        f"{name}={value!r} must be a whole number, at least {least}"
        for name, value, least in (
            ("draws", draws, 4),
            ("tune", tune, 1),
            ("chains", chains, 1),
            ("thin", thin, 1),
        )
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least
    ]
    if not 0.0 < target_accept < 1.0:
        faults.append(f"target_accept={target_accept!r} must lie between 0 and 1")
    if faults:
        raise SpecificationError("; ".join(faults) + ".")
    import nutpie

    try:
        trace = nutpie.sample(
            compiled.kernel,
            draws=int(draws) * int(thin),
            tune=int(tune),
            chains=int(chains),
            seed=random_seed,
            progress_bar=progressbar,
            save_warmup=False,
            target_accept=target_accept,
        )
    except RuntimeError as error:
        if "nitialization" not in str(error):
            raise
        raise SpecificationError(
            "sampling cannot start: the log-density is not finite there. Variables at fault: "
            f"{_explain_start(compiled.model)}. Check their priors against the scores."
        ) from error
    stats = (
        trace["sample_stats"]
        .to_dataset()
        .rename({old: new for old, new in _STATISTICS.items() if old in trace["sample_stats"]})
    )
    stats = stats[[name for name in _KEPT if name in stats]]
    posterior = trace["posterior"].to_dataset()
    if thin > 1:
        flags = [name for name in ("diverging", "reached_max_treedepth") if name in stats]
        steps = stats[["n_steps"]].coarsen(draw=thin).sum()
        stats = (
            stats.isel(draw=slice(thin - 1, None, thin))
            .drop_vars("draw")
            .assign(
                {name: stats[name].coarsen(draw=thin).max().drop_vars("draw") for name in flags}
            )
            .assign(n_steps=steps["n_steps"].drop_vars("draw"))
            .assign_coords(draw=np.arange(draws))
        )
        posterior = posterior.isel(draw=slice(thin - 1, None, thin)).assign_coords(
            draw=np.arange(draws)
        )
    return xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})
