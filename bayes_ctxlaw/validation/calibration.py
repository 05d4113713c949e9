"""Simulation-based calibration: fits of scores that were simulated from the prior of a law."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw import jobs
from bayes_ctxlaw._version import __version__
from bayes_ctxlaw.encoding import Encoding
from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.likelihoods import choose_likelihood
from bayes_ctxlaw.observations import as_observations
from bayes_ctxlaw.posterior import population_names
from bayes_ctxlaw.priors import priors_to_json
from bayes_ctxlaw.schema import OBS_DIM
from bayes_ctxlaw.seeds import faults_of_seed
from bayes_ctxlaw.specification import Specification
from bayes_ctxlaw.validation.backtest import OUTCOMES
from bayes_ctxlaw.validation.ranks import Calibration, gather
from bayes_ctxlaw.validation.simulated_fit import Task, paths_of, read_folder, simulate_and_rank

_ROWS = 8  # of the design, whose mean scores are ranked


def calibrate(
    law: Any,
    design: Any,
    n_simulations: int = 200,
    *,
    draws: int = 50,
    tune: int = 500,
    thin: int = 20,
    chains: int = 2,
    simulator: Any = None,
    random_seed: int | None = None,
    folder: str | os.PathLike[str] | None = None,
    progressbar: bool = True,
) -> Calibration:
    """Check by simulation that the posterior of a law is the one its model has.

    Draw parameters from the prior, simulate scores from them, fit, and count how many posterior
    draws lie below the true value: over many simulations these ranks are uniform if prior,
    likelihood and sampler belong together, and only then.

    Parameters
    ----------
    law : ContextLaw
        Its options count; it is neither fitted nor changed. With ``discrepancy="auto"`` tasks stray
        if they do in its fit, if there is one: simulated scores do not choose anew.
    design : Dataset, DataFrame, path or list of dict
        Observations in whose place scores are simulated. Their own scores serve to resolve
        ``likelihood="auto"`` and for nothing else.
    n_simulations : int
        Number of simulations.
    draws, tune, chains, thin : int
        Draws ranked of each chain, draws discarded, chains, and sampler steps for every draw that
        is ranked. Ranks are uniform for independent draws only: where the effective sample size
        is below the number of draws, a fit is repeated twice and then four times as long.
    simulator : ContextLaw, optional
        Law to simulate from, if not `law` itself: to see whether a difference would be found.
    random_seed : int, optional
        Every simulation has a seed that follows from this one and its number.
    folder : path, optional
        Where every simulation is written as it ends. A second call with the same arguments
        continues with those not there; with larger `n_simulations` it adds to them.
    progressbar : bool
        Show how many simulations are done.

    Returns
    -------
    Calibration

    Raises
    ------
    SpecificationError
        An argument cannot be used, or the folder holds simulations of another configuration.
    ObservationError
        If the design is at fault.
    FileFormatError
        A file of the folder cannot be read or written.

    Notes
    -----
    The prior of A and B holds at the references, so these must not move with the scores. They are
    those the law states; of a law that was fitted, else, those of its fit; else the geometric means
    of the design's compute and prompt tokens. The answer names them.

    Simulated scores that a fit refuses, such as scores that are all equal, are drawn anew together
    with their parameters, and counted. That conditions on an event of the data alone, under which
    the posterior stays the same and ranks stay uniform. Fits that do not pass their checks of
    convergence are counted too, and stay.

    Simulations are jobs of joblib: see ``joblib.parallel_config``. Results do not depend on how
    they are spread.

    References
    ----------
    Talts et al., arXiv:1804.06788. Modrák et al. (2023), doi:10.1214/23-BA1404, on quantities that
    depend on the data, of which the log-likelihood and mean scores are ranked here.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> obs = bcl.load_dataset("montgomery2025").isel(obs_id=slice(0, 30))
    >>> law = bcl.ContextLaw(groups=(), references={"compute": 1e23, "prompt_tokens": 500})
    >>> found = bcl.calibrate(law, obs, 4, draws=5, tune=50, thin=2, random_seed=1,
    ...                       progressbar=False)
    >>> found.ranks["mu_A"].shape, found.n_draws
    ((4,), 10)
    """
    sizes = {"draws": draws, "tune": tune, "thin": thin, "chains": chains}
    _check(sizes | {"n_simulations": n_simulations}, random_seed, folder)
    sizes = {name: int(value) for name, value in sizes.items()}  # as JSON has them
    design = as_observations(design)
    seed = int(np.random.default_rng().integers(2**31) if random_seed is None else random_seed)
    likelihood = _likelihood(law, design)
    design = design.drop_vars(OUTCOMES, errors="ignore")
    encoding = Encoding.of(design, _specification(law, likelihood).levels)
    references = {
        "compute": encoding.compute_reference,
        "prompt_tokens": encoding.prompt_tokens_reference,
    }
    if law.encoding is not None:
        references["compute"] = law.encoding.compute_reference
        references["prompt_tokens"] = law.encoding.prompt_tokens_reference
    references |= law.references
    encoding = encoding.at_references(references)
    simulated = _simulated(law, simulator, likelihood, encoding)
    configuration = {
        "version": __version__,
        "seed": seed,
        "sampling": sizes,
        "law": _digest(_in_words(law, likelihood, references)),
        "simulator": _digest(_of_specification(simulated)),
        "design": _digest(design.to_dataframe().sort_index(axis=1).to_csv()),
    }
    rows = np.unique(np.linspace(0, design.sizes[OBS_DIM] - 1, _ROWS).round().astype(int))
    fresh = _unfitted(law, likelihood, references)
    task = Task(fresh, simulated, encoding, design, rows, sizes, seed, configuration)
    paths = paths_of(folder, n_simulations)
    done = read_folder(folder, configuration)
    results = {i: done[i] for i in range(n_simulations) if i in done}
    missing = {f"simulation {i}": (task, i, paths[i]) for i in paths if i not in results}
    for result in jobs.run(simulate_and_rank, missing, progressbar, title="simulations").values():
        results[result["index"]] = result
    dims = population_names(_specification(fresh, likelihood), encoding)
    ranks = gather([results[i] for i in range(n_simulations)], dims, encoding, design, rows)
    fits = pd.DataFrame([results[i]["fit"] for i in range(n_simulations)]).rename_axis("simulation")
    ranks.attrs |= {"random_seed": seed} | {f"{k}_reference": v for k, v in references.items()}
    return Calibration(ranks, draws * chains, fits)


def _specification(law: Any, likelihood: str) -> Specification:
    """What a law will be once it is fitted, without its observations."""
    strays = None if law.spec is None else law.spec.terms.strays
    return Specification.decided(law.terms, likelihood, law.levels, law.priors, strays)


def _check(sizes: Mapping[str, Any], random_seed: Any, folder: Any) -> None:
    """Refuse numbers that cannot be used, all in one message."""
    least = {"n_simulations": 4, "draws": 4}
    faults = [
        f"{name}={value!r} must be a whole number, at least {least.get(name, 1)}"
        for name, value in sizes.items()
        if isinstance(value, bool)
        or not isinstance(value, int | np.integer)
        or value < least.get(name, 1)
    ]
    faults += faults_of_seed(random_seed)
    if folder is not None and random_seed is None:
        faults.append("a folder to continue from needs a random_seed, the same at every call")
    if faults:
        raise SpecificationError(f"the calibration cannot start: {'; '.join(faults)}.")


def _likelihood(law: Any, design: xr.Dataset) -> str:
    """Resolved once: simulated scores could by chance look like another kind."""
    found = (
        law.spec.likelihood if law.spec is not None else choose_likelihood(design, law.likelihood)
    )
    if found == "least_squares":
        raise SpecificationError(
            "likelihood='least_squares' cannot be calibrated: its normal runs beyond [0, 1], where "
            "no score can be simulated. Use 'normal' or 'student_t', which are censored there."
        )
    return found


def _simulated(law: Any, simulator: Any, likelihood: str, encoding: Encoding) -> Specification:
    """What scores are simulated from; it must have every parameter of the law."""
    if simulator is None:
        return _specification(law, likelihood)
    other = likelihood if simulator.likelihood == "auto" else simulator.likelihood
    spec = _specification(simulator, other)
    wanted = population_names(_specification(law, likelihood), encoding)
    missing = [name for name in wanted if name not in population_names(spec, encoding)]
    faults = [f"it has no {', '.join(missing)}"] if missing else []
    faults += [
        f"it states the reference {name}={value:g}, the law {encoding_value:g}"
        for name, value in simulator.references.items()
        if (encoding_value := getattr(encoding, f"{name}_reference")) != value
    ]
    if faults:
        raise SpecificationError(f"the simulator does not fit the law: {'; '.join(faults)}.")
    return spec


def _unfitted(law: Any, likelihood: str, references: Mapping[str, float]) -> Any:
    """The same law without a fit, with all fixed that could depend on the scores."""
    spec = _specification(law, likelihood)
    fresh = type(law)(
        likelihood=likelihood, groups=law.levels, references=references, **asdict(spec.terms)
    )
    fresh.priors = spec.priors
    return fresh


def _of_specification(spec: Specification) -> dict[str, Any]:
    return {
        "terms": asdict(spec.terms),
        "likelihood": spec.likelihood,
        "levels": {level: list(names) for level, names in spec.levels.items()},
        "priors": priors_to_json(spec.priors),
    }


def _in_words(law: Any, likelihood: str, references: Mapping[str, float]) -> dict[str, Any]:
    spec = _specification(law, likelihood)
    return _of_specification(spec) | {"references": dict(references)}


def _digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
