"""Sample a log-density, and bring the sampler's statistics to the usual names."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

from bayes_ctxlaw.density import Density
from bayes_ctxlaw.errors import SpecificationError

# What nutpie calls differently from PyMC; az.diagnose looks for the latter and would miss it.
_STATISTICS = {"maxdepth_reached": "reached_max_treedepth", "depth": "tree_depth", "logp": "lp"}
_KEPT = (
    "diverging", "energy", "n_steps", "step_size", "mean_tree_accept", "tree_depth",
    "reached_max_treedepth", "lp",
)  # fmt: skip

_FEWEST_DRAWS = 4  # of a chain; with fewer there are no sample statistics
_LEAST = {"draws": _FEWEST_DRAWS}

_POLL = 0.1  # seconds between looks at how far the chains are

_PILOT_ACCEPT, _PILOT_DEPTH = 0.9, 7
"""Of a run that only has to find the posterior, not to know it."""

_PROBE, _PROBE_DEPTH = 60, 10
"""Steps of tuning, and of each of two chains after it, that show where trajectories turn round."""

_WORTH_A_PROBE = 300
"""Steps of a chain, tuning included, from which it pays to find that out."""

_FURTHER, MOST_DOUBLINGS = 1, 9
"""Doublings beyond those, and in all at most. NUTS ends a trajectory where most of the coordinates
have turned round; the slow ones, on which the effective draws depend, are then still on their way.
"""

_STRAYING_DOUBLINGS = 8
"""In all at most where tasks stray from the law: more trajectories are worth more there than longer
ones, and these would make a fit take several times as long."""


def most_doublings(density: Density) -> int:
    """Doublings of leapfrog steps that a trajectory may have in all.

    Parameters
    ----------
    density : Density

    Returns
    -------
    int
    """
    return _STRAYING_DOUBLINGS if "discrepancy" in density.moved else MOST_DOUBLINGS


def sampler_model(density: Density) -> Any:
    """The density as nutpie takes it: the kernel's functions and the program they run.

    Parameters
    ----------
    density : Density

    Returns
    -------
    nutpie compiled model
    """
    from nutpie.compile_pymc import CompiledPyMCModel

    from bayes_ctxlaw import kernel

    names = [variable.name for variable in density.variables]
    places = [variable.places for variable in density.variables]
    shapes = [
        () if variable.dim is None else (variable.places.stop - variable.places.start,)
        for variable in density.variables
    ]

    def start(seed: int) -> np.ndarray:
        # Chains that start apart can tell whether they come together.
        unit = np.random.default_rng(seed).uniform(-1.0, 1.0, density.n_dim)
        return density.start + density.spread * unit

    return CompiledPyMCModel(
        dims={v.name: (v.dim,) for v in density.variables if v.dim is not None},
        compiled_logp_func=kernel.log_density,
        compiled_expand_func=kernel.expand,
        initial_point_func=start,
        shared_data={},
        shared_var_keys={},
        user_data=density.program,
        n_expanded=density.n_kept,
        shape_info=(names, places, shapes),
        logp_func=None,
        expand_func=None,
        _n_dim=density.n_dim,
        _shapes=dict(zip(names, shapes, strict=True)),
        _coords=density.coords,
    )


def _explain_start(density: Density) -> str:
    """Which variables make the log-density at the start not finite."""
    from bayes_ctxlaw import kernel

    gradient = kernel.evaluate(density.program, density.start)[1]
    bad = [name for name, at in density.moved.items() if not np.isfinite(gradient[at]).all()]
    return ", ".join(bad) or "none by itself (the neighbourhood of the start is at fault)"


def sample(
    density: Density,
    *,
    draws: int,
    tune: int,
    chains: int,
    random_seed: int | None,
    progressbar: bool,
    thin: int = 1,
    target_accept: float,
    max_depth: int | None = None,
    doublings: int | None = None,
    further: Callable[[xr.DataTree], int] | None = None,
    most: int | None = None,
) -> xr.DataTree:
    """Sample a log-density by Hamiltonian Monte Carlo.

    Parameters
    ----------
    density : Density
    draws, tune, chains : int
        Draws kept and discarded in each chain, and the number of chains.
    random_seed : int, optional
        The same seed gives the same draws, whatever the number of cores.
    progressbar : bool
    thin : int
        Steps taken for every draw kept. A divergence in any of them marks the draw.
    target_accept : float
    max_depth : int, optional
        Let each trajectory end where it turns round (NUTS), after two to this power of leapfrog
        steps at most. If None, all have the same length.
    doublings : int, optional
        That length: two to this power of leapfrog steps. If None, twice that at which they
        typically turn round, which a short run of NUTS finds out, and 511 leapfrog steps at most,
        or 255 where tasks stray from the law;
        chains of fewer than 300 steps that do not go on are by NUTS instead.
    further : callable, optional
        Is given what there is after `thin` steps for every draw, as it would be returned, and says
        how many there are to be when it is asked again; the chains go on meanwhile. If that is no
        more than there are, they end. If None, they end after `thin`.
    most : int, optional
        Steps for every draw that the chains may come to, if `further` is given.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior`` (the variables of the density) and ``sample_stats``, where
        ``energy_change`` is the root mean square change of the energy in a step, over the steps of
        a draw (the first step of a chain is blank); the attribute ``thin`` says how many steps were
        taken for every draw. Where all trajectories have the
        same length, the attribute ``doublings`` says which. After an interruption (Ctrl-C) the
        attribute ``interrupted`` says what was kept: equally many draws of the chains that were
        past their tuning.

    Raises
    ------
    SpecificationError
        If a number of draws or chains is not a whole number in range, or the log-density is
        not finite where chains start; the variables are named.
    KeyboardInterrupt
        If it was interrupted before there was anything to keep.

    References
    ----------
    Points of a trajectory of fixed length are drawn by their density, as in NUTS: Betancourt
    (2017), arXiv:1701.02434, appendix A.
    """
    check_size(draws=draws, tune=tune, chains=chains, thin=thin, target_accept=target_accept)
    # Of chains that may go on, nobody knows how short they will be.
    short = further is None and tune + draws * thin < _WORTH_A_PROBE
    if short and max_depth is None and doublings is None:
        max_depth = MOST_DOUBLINGS
    if max_depth is None:
        if doublings is None:
            doublings = _doublings(density, target_accept=target_accept, random_seed=random_seed)
        length = {"mindepth": doublings, "maxdepth": doublings, "check_turning": False}
    else:
        doublings, length = None, {"maxdepth": max_depth}
    try:
        return sample_compiled(
            sampler_model(density),
            draws=draws,
            tune=tune,
            chains=chains,
            random_seed=random_seed,
            progressbar=progressbar,
            thin=thin,
            target_accept=target_accept,
            length=length,
            doublings=doublings,
            further=further,
            most=most,
        )
    except RuntimeError as error:
        if "nitialization" not in str(error):
            raise
        raise SpecificationError(
            "sampling cannot start: the log-density is not finite there. Variables at fault: "
            f"{_explain_start(density)}. Check their priors against the scores."
        ) from error


def check_size(target_accept: float, **numbers: int) -> None:
    """Refuse numbers of draws or chains that are none, all in one message.

    Parameters
    ----------
    target_accept : float
    **numbers : int
        ``draws``, ``tune``, ``chains``, ``thin``.

    Raises
    ------
    SpecificationError
        If one is not a whole number in range, or `target_accept` is no probability.
    """
    faults = [
        f"{name}={value!r} must be a whole number, at least {_LEAST.get(name, 1)}"
        for name, value in numbers.items()
        if isinstance(value, bool)
        or not isinstance(value, (int, np.integer))
        or value < _LEAST.get(name, 1)
    ]
    if not isinstance(target_accept, Real) or not 0.0 < target_accept < 1.0:
        faults.append(f"target_accept={target_accept!r} must lie between 0 and 1")
    if faults:
        raise SpecificationError("; ".join(faults) + ".")


def sample_compiled(
    model: Any,
    *,
    draws: int,
    tune: int,
    chains: int,
    random_seed: int | None,
    progressbar: bool,
    target_accept: float,
    thin: int = 1,
    length: Mapping[str, Any] = MappingProxyType({}),
    doublings: int | None = None,
    further: Callable[[xr.DataTree], int] | None = None,
    most: int | None = None,
) -> xr.DataTree:
    """Sample a compiled model.

    Parameters
    ----------
    model : nutpie compiled model
    draws, tune, chains, random_seed, progressbar, target_accept, thin, further, most
        As in `sample`, and in range.
    length : mapping
        What nutpie is told of the length of trajectories; by default that of NUTS.
    doublings : int, optional
        If all trajectories have the same length: two to this power of leapfrog steps.

    Returns
    -------
    xarray.DataTree
        As from `sample`, also after an interruption.

    Raises
    ------
    KeyboardInterrupt
        If it was interrupted before there was anything to keep.
    """
    import nutpie

    if further is None:
        cores, most = None, thin
    else:
        cores = int(chains)  # side by side, so that all have drawn as much when it is asked
    first = thin
    start = partial(
        nutpie.sample,
        model,
        draws=int(draws) * int(most),
        tune=int(tune),
        chains=int(chains),
        cores=cores,
        seed=random_seed,
        progress_bar=progressbar,
        save_warmup=False,
        target_accept=target_accept,
        **length,
    )
    with _Chains(start, int(tune)) as at_work:
        try:
            while True:
                found = _tree(at_work.after(draws * thin), draws, thin, doublings)
                steps = 0 if further is None else min(further(found), most)
                if steps <= thin:
                    return found
                thin = steps
        except KeyboardInterrupt:
            trace = at_work.stop()
    thin = max(first, int(_drawn(trace).min()) // draws)
    trace, kept = _equally_many(trace, draws, thin)
    found = _tree(trace, kept, thin, doublings)
    found.attrs["interrupted"] = (
        f"sampling was interrupted: {trace['posterior'].sizes['chain']} chains of {kept} draws are "
        f"kept of {chains} chains of {draws}, with {thin} steps for every draw"
    )
    return found


class _Chains:
    """Chains of nutpie at work in the background, until all is drawn or they are left.

    Parameters
    ----------
    start : callable
        ``nutpie.sample`` but for its options that say how to wait.
    tune : int
        Steps of the tuning.
    """

    def __init__(self, start: Callable[..., Any], tune: int) -> None:
        self._tune, self._done = tune, 0
        self._ended: xr.DataTree | None = None
        # Not blocking: a blocking call would hand over a part of the draws as if it were all.
        self._sampler = start(blocking=False, progress_callback=self._look)

    def _look(self, chains: list[Any]) -> None:
        self._done = min(chain.finished_draws for chain in chains)

    def __enter__(self) -> _Chains:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ended is None:
            self._sampler.cancel()

    def after(self, steps: int) -> xr.DataTree:
        """What there is once every chain has taken so many steps after its tuning."""
        while self._ended is None:
            try:
                self._ended = _quietly(self._sampler.wait, timeout=_POLL)
            except TimeoutError:
                if self._done >= self._tune + steps:
                    trace = _quietly(self._sampler.inspect)
                    if _drawn(trace).min() >= steps:
                        return trace
        return self._ended

    def stop(self) -> xr.DataTree:
        """End them; what there is."""
        if self._ended is None:
            self._ended = _quietly(self._sampler.abort)
        return self._ended


def _quietly(get: Callable[..., xr.DataTree], **options: Any) -> xr.DataTree:
    with warnings.catch_warnings():
        # Of ArviZ, where there are more chains than draws.
        warnings.filterwarnings("ignore", "Found chain dimension to be longer", UserWarning)
        return get(**options)


def _drawn(trace: xr.DataTree) -> np.ndarray:
    """Steps of each chain after its tuning; what it did not reach is blank."""
    return trace["sample_stats"]["step_size"].notnull().sum("draw").values


def _equally_many(trace: xr.DataTree, draws: int, thin: int) -> tuple[xr.DataTree, int]:
    """As many draws of each chain, and how many that is.

    As many chains take part as give the most draws in all: one that has hardly begun is left out.
    """
    done = np.minimum(_drawn(trace) // thin, draws)
    kept = int(max(done, key=lambda draws: draws * (done >= draws).sum()))
    if kept < _FEWEST_DRAWS:
        raise KeyboardInterrupt(
            "sampling was interrupted before any chain had drawn more than "
            f"{_FEWEST_DRAWS - 1} times after its tuning: nothing is kept."
        )
    chains = np.flatnonzero(done >= kept)
    groups = {
        name: trace[name]
        .to_dataset()
        .isel(chain=chains)
        .assign_coords(chain=np.arange(len(chains)))
        for name in ("posterior", "sample_stats")
    }
    return xr.DataTree.from_dict(groups), kept


def _tree(trace: xr.DataTree, draws: int, thin: int, doublings: int | None) -> xr.DataTree:
    """So many draws of nutpie's, with the usual names: every `thin`-th of the first steps."""
    stats, posterior = (
        trace[name].to_dataset().isel(draw=slice(draws * thin)).drop_vars("draw")
        for name in ("sample_stats", "posterior")
    )
    stats = stats.rename({old: new for old, new in _STATISTICS.items() if old in stats})
    stats = stats[[name for name in _KEPT if name in stats]]
    if doublings is not None:
        # All are as long as they may be: it says nothing of any.
        stats = stats.drop_vars(["reached_max_treedepth", "tree_depth"])
    flags = [name for name in ("diverging", "reached_max_treedepth") if name in stats]
    stats["energy_change"] = (stats["energy"] - stats["energy"].shift(draw=1)) ** 2
    of_steps = stats[[*flags, "n_steps", "energy_change"]].coarsen(draw=thin)
    every = {"draw": slice(thin - 1, None, thin)}
    stats = stats.isel(every).assign(
        {name: of_steps.max()[name] for name in flags}
        | {"n_steps": of_steps.sum()["n_steps"]}
        # From one draw that is kept to the next, any chain forgets its energy.
        | {"energy_change": np.sqrt(of_steps.mean()["energy_change"])}
    )
    # nutpie's attributes hold the time of day; the same seed gives the same tree.
    tree = xr.DataTree.from_dict(
        {
            name: ds.drop_attrs(deep=False).assign_coords(draw=np.arange(draws))
            for name, ds in (("posterior", posterior.isel(every)), ("sample_stats", stats))
        }
    )
    tree.attrs["thin"] = int(thin)
    if doublings is not None:
        tree.attrs["doublings"] = doublings
    return tree


def pilot(
    density: Density, *, steps: int, random_seed: int | None
) -> tuple[dict[str, np.ndarray], bool]:
    """Where the posterior is, from a short run, and whether its variables are fit to sample.

    Parameters
    ----------
    density : Density
    steps : int
        Of two chains; the later half counts.
    random_seed : int, optional

    Returns
    -------
    dict
        Posterior mean by name, of scales the geometric one: as ``mode.Mode.start``.
    bool
        Whether most steps ended by themselves and not at the largest tree depth.
    """
    trace = _short_run(
        density,
        draws=max(steps // 2, _FEWEST_DRAWS),
        tune=max(steps - steps // 2, 1),
        random_seed=random_seed,
        target_accept=_PILOT_ACCEPT,
        max_depth=_PILOT_DEPTH,
    )
    draws = trace["posterior"].to_dataset()
    over = ["chain", "draw"]
    found = {}
    for name, values in draws.data_vars.items():
        positive = name.endswith("_sd") or name == "overdispersion"
        found[name] = (np.exp(np.log(values).mean(over)) if positive else values.mean(over)).values
    return found, float(trace["sample_stats"]["reached_max_treedepth"].mean()) < 0.5


def _doublings(density: Density, *, target_accept: float, random_seed: int | None) -> int:
    """Doublings of leapfrog steps of a trajectory that takes slow coordinates along."""
    trace = _short_run(
        density,
        draws=_PROBE,
        tune=_PROBE,
        random_seed=random_seed,
        target_accept=target_accept,
        max_depth=_PROBE_DEPTH,
    )
    natural = float(np.log2(trace["sample_stats"]["n_steps"] + 1).mean())
    return min(round(natural) + _FURTHER, most_doublings(density))


def _short_run(density: Density, **options: Any) -> xr.DataTree:
    """Two chains of NUTS of which nothing is kept; interrupted, they end the fit."""
    trace = sample(density, chains=2, progressbar=False, **options)
    if "interrupted" in trace.attrs:
        raise KeyboardInterrupt("interrupted in the tuning: nothing is kept.")
    return trace
