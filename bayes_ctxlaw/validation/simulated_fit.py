"""One simulation of a calibration: draw from the prior, simulate, fit, rank the truth."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayes_ctxlaw.encoding import Encoding, level_labels
from bayes_ctxlaw.errors import FileFormatError, ObservationError, SpecificationError
from bayes_ctxlaw.judgement import convergence
from bayes_ctxlaw.likelihoods import log_likelihood
from bayes_ctxlaw.output import written_whole
from bayes_ctxlaw.predict import Predictor
from bayes_ctxlaw.schema import OBS_DIM
from bayes_ctxlaw.simulate import prior_draws, simulate_scores
from bayes_ctxlaw.specification import Specification

_MOST_REDRAWS = 100
_LENGTHS = (1, 2, 4)  # of a fit, as long as its draws are not independent enough
_ESS = "smallest bulk effective sample size"


@dataclass(frozen=True)
class Task:
    """What all simulations of a calibration share.

    Attributes
    ----------
    law : ContextLaw
        Not fitted, with references and likelihood fixed.
    simulator : Specification
        What scores are simulated from.
    encoding : Encoding
        Of the design, at the references of the law.
    design : xr.Dataset
        Observations without scores.
    rows : ndarray of int
        Those whose mean score is ranked.
    sizes : mapping of str to int
        ``draws``, ``tune``, ``thin``, ``chains``.
    seed : int
    configuration : mapping
        All of this in few words, to know a simulation of the same kind by.
    """

    law: Any
    simulator: Specification
    encoding: Encoding
    design: xr.Dataset
    rows: np.ndarray
    sizes: Mapping[str, int]
    seed: int
    configuration: Mapping[str, Any]


def seeds_of(seed: int, index: int, redrawn: int) -> np.ndarray:
    """Seeds of a simulation: of its true values, its scores, its fit and the order of ties.

    Parameters
    ----------
    seed : int
        Of all.
    index : int
        Its number.
    redrawn : int
        Data sets that could not be fitted before this one.

    Returns
    -------
    ndarray of int
    """
    return np.random.SeedSequence([seed, index, redrawn]).generate_state(4) // 2


def simulate_and_rank(task: Task, index: int, path: Path | None) -> dict[str, Any]:
    """Run one simulation, and write it to a file if there is a path.

    Parameters
    ----------
    task : Task
    index : int
        Its number, from which its seeds follow.
    path : pathlib.Path or None

    Returns
    -------
    dict
        ``index``, ``configuration``, ``ranks`` by name, and ``fit``: number of data sets
        ``redrawn``, ``failed_checks``, ``ess``, ``steps`` for each ranked draw, ``seconds``.

    Raises
    ------
    SpecificationError
        The prior gives hardly any scores that can be fitted, or sampling cannot start.
    """
    start = time.perf_counter()
    for redrawn in range(_MOST_REDRAWS):
        seeds = seeds_of(task.seed, index, redrawn)
        truth = prior_draws(task.simulator, task.encoding, 1, np.random.default_rng(seeds[0]))
        scores = simulate_scores(task.simulator, task.encoding, truth, task.design, int(seeds[1]))
        # The metric is of the scores that were observed, and replicates may come out equal.
        obs = task.design.drop_vars("metric", errors="ignore").assign(
            score=(OBS_DIM, scores[0]), simulated_row=(OBS_DIM, np.arange(len(scores[0])))
        )
        law = copy.deepcopy(task.law)  # threads, and a serial run, share the one given
        try:
            thin, checks = _fit(law, obs, task.sizes, int(seeds[2]))
        except ObservationError as error:
            # A verdict on the data alone: drawing anew conditions on the data, and on no parameter.
            refusal = error
            continue
        break
    else:
        raise SpecificationError(
            f"none of {_MOST_REDRAWS} data sets simulated from the prior could be fitted; of the "
            f"last: {refusal} Check the priors against the design."
        )
    if law.encoding != task.encoding:
        raise AssertionError("the fit has other references or labels than the simulation")
    rng = np.random.default_rng(seeds[3])
    both = _truth_and_draws(law, truth, thin)
    ranks = {name: _rank(v, rng).tolist() for name, v in _quantities(law, both, task.rows).items()}
    result = {
        "index": index,
        "configuration": dict(task.configuration),
        "ranks": ranks,
        "fit": {
            "redrawn": redrawn,
            "failed_checks": ", ".join(checks.index[~checks["passed"]]),
            "ess": float(np.nan_to_num(checks.loc[_ESS, "value"])),
            "steps": thin,
            "seconds": time.perf_counter() - start,
        },
    }
    if path is not None:
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(result), encoding="utf-8")
    return result


def _fit(law: Any, obs: xr.Dataset, sizes: Mapping[str, int], seed: int) -> tuple[int, Any]:
    """Fit, longer if need be; sampler steps for each draw to rank, and checks of convergence.

    Every step is kept until the fit has been judged: of thinned draws alone R-hat and effective
    sample size would be too rough to judge it by.
    """
    for length in _LENGTHS:
        thin = sizes["thin"] * length
        law.fit(
            obs,
            draws=sizes["draws"] * thin,
            tune=sizes["tune"],
            chains=sizes["chains"],
            thin=1,
            random_seed=seed,
            progressbar=False,
        )
        checks = convergence(law.idata)
        if checks.loc[_ESS, "value"] >= sizes["draws"] * sizes["chains"]:
            break
    return thin, checks


def _truth_and_draws(law: Any, truth: Mapping[str, np.ndarray], thin: int) -> dict[str, np.ndarray]:
    """The true value, then the draws it is ranked among, along the first axis."""
    posterior = law.idata["posterior"].to_dataset().isel(draw=slice(thin - 1, None, thin))
    draws = Predictor.of(law.spec, law.encoding, posterior, 0).draws
    return {name: np.concatenate([truth[name], values]) for name, values in draws.items()}


def _quantities(
    law: Any, both: Mapping[str, np.ndarray], rows: np.ndarray
) -> dict[str, np.ndarray]:
    """Parameters, and what depends on the data: the log-likelihood and mean scores of rows."""
    predictor = Predictor(law.spec, law.encoding, both, 0)
    mean = np.concatenate(list(predictor.blocks(law.obs, "llm")), axis=1)
    phi = predictor.overdispersion(level_labels(law.obs, "task"))
    by_row = log_likelihood(law.spec.likelihood, mean, phi, law.obs)
    return {**both, "log_likelihood": by_row.sum(axis=1), "mean_score": mean[:, rows]}


def _rank(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How many draws lie below the true value, which is the first; ties at random.

    Mean scores tie at 0 and 1.
    """
    below, ties = (values[1:] < values[0]).sum(axis=0), (values[1:] == values[0]).sum(axis=0)
    return below + rng.integers(0, ties + 1)


def paths_of(folder: Any, count: int) -> dict[int, Path | None]:
    """File of every simulation, in a folder that is made if need be; None without a folder."""
    if folder is None:
        return dict.fromkeys(range(count))
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileFormatError(f"{folder} cannot be made: {error.strerror or error}.") from error
    return {i: Path(folder) / f"simulation-{i:05d}.json" for i in range(count)}


def read_folder(folder: Any, configuration: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Simulations found in a folder, all of this configuration."""
    found = {}
    for path in [] if folder is None else sorted(Path(folder).glob("simulation-*.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            index, theirs = result["index"], result["configuration"]
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise FileFormatError(f"{path} is not a simulation: {error!r}.") from error
        other = [name for name, value in configuration.items() if theirs.get(name) != value]
        if other:
            raise SpecificationError(
                f"{path} is of another configuration (it differs in {', '.join(other)}): give "
                "another folder, or the arguments of the first call."
            )
        found[index] = result
    return found
