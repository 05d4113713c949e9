"""The default law written by hand in NumPyro, as somebody who knows NUTS would.

    python benchmarks/numpyro_by_hand.py --dataset montgomery2025 --out forecast.nc

fits the data from the start of the process to a file of 90 % response intervals, at 30 prompt
lengths for each task: how long does the whole job take without ContextLaw? ``sampling_speed.py``
calls ``run`` to compare the samplers alone.

The totals of the tasks are sampled (centred) for the parameters that scores show best, what is
known less well as standard scores. NUTS has its defaults: target acceptance 0.8, a diagonal mass
matrix.

Chains run in parallel, one host device each, although there may be fewer cores: with fewer devices
than chains NumPyro falls back to one chain after the other and compiles for each, and
"vectorized" makes every chain wait for the longest trajectory.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpyro
import pandas as pd
import xarray as xr

# Before the first use of JAX: devices and precision cannot be changed afterwards.
DEVICES = 4
numpyro.set_host_device_count(DEVICES)
numpyro.enable_x64()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpyro.distributions as dist  # noqa: E402
from _common import DATASETS, Clock, Data, forecast_table, outcome  # noqa: E402
from jax.scipy.special import expit  # noqa: E402
from numpyro.infer import MCMC, NUTS  # noqa: E402
from scipy.special import expit as scipy_expit  # noqa: E402

from bayes_ctxlaw.datasets import load_dataset  # noqa: E402
from bayes_ctxlaw.encoding import DEFAULT_LEVELS, Encoding, parse_groups  # noqa: E402
from bayes_ctxlaw.law import LawTerms  # noqa: E402
from bayes_ctxlaw.observations import as_design  # noqa: E402
from bayes_ctxlaw.predict import BREAKS, OWN_BREAK  # noqa: E402
from bayes_ctxlaw.priors import GAMMA_SHAPE, default_priors, gamma_unit  # noqa: E402

TARGET_ACCEPT = 0.8

CENTRED = ("A", "B", "delta")
"""Parameters that three tasks' scores show well enough for their totals to be sampled.

With all parameters centred two to four draws in a hundred diverge, where a scale of the others
comes near 0; with none, trajectories are four times as long.
"""


def is_centred(name: str, level: str) -> bool:
    """Whether the totals of a level are sampled, and not standard scores of its effects."""
    return level == "task" and name in CENTRED


def mean_score(data: Data, total: dict[str, Any], xp: Any = jnp, sigmoid: Any = expit) -> Any:
    """P, from the totals of the parameters."""
    compute = -xp.expm1(-xp.exp(total["A"] + xp.exp(total["alpha"]) * data.x))
    rise = xp.exp(total["beta"]) * data.z
    if "rho" in total:
        # log(ρ + (1 − ρ) e^rise), written so that no exponential overflows.
        rise = xp.logaddexp(0.0, rise - total["rho"]) - xp.logaddexp(0.0, -total["rho"])
    inside = compute * sigmoid(total["B"] + rise)
    if "D" in total:
        eta = 2.0 * sigmoid(total["eta"])
        lost = total["D"] + eta * data.w - xp.exp(total["psi"]) * data.x
        inside = inside * sigmoid(-lost)
    # Below 0 the effective window moves at a quarter of the rate; 0.1 rounds the corner.
    delta = 0.25 * total["delta"] + 0.075 * xp.logaddexp(0.0, total["delta"] / 0.1)
    window = sigmoid(-(2.0 + xp.exp(total["kappa"])) * (data.w - delta))
    return window * (data.chance + (1.0 - data.chance) * inside)


def make_model(data: Data) -> Callable[[], None]:
    """The NumPyro model of some data."""
    # Which rows are censored is known before the first gradient, so no branch is left in it.
    inside = np.flatnonzero((data.score > 0.0) & (data.score < 1.0))
    ends = np.flatnonzero((data.score <= 0.0) | (data.score >= 1.0))
    nearest = data.score[ends] >= 1.0

    def model() -> None:
        total = {}
        for name in data.terms.parameters:
            prior = data.priors[name]
            mu = numpyro.sample(f"mu_{name}", dist.Normal(prior.loc, prior.scale))
            total[name] = mu
            for level in data.acting(name):
                key = f"{name}_{level}_sd"
                sd = numpyro.sample(key, dist.HalfNormal(data.priors[key].scale))
                if level not in data.varying(name):
                    continue
                size = (len(data.labels[level]),)
                if is_centred(name, level):
                    at = numpyro.sample(
                        f"{name}_task_total", dist.Normal(mu, sd).expand(size).to_event(1)
                    )
                    effect = numpyro.deterministic(f"{name}_task", at - mu)
                else:
                    unit = dist.Normal(0.0, 1.0).expand(size).to_event(1)
                    raw = numpyro.sample(f"{name}_{level}_raw", unit)
                    effect = numpyro.deterministic(f"{name}_{level}", sd * raw)
                total[name] = total[name] + effect[data.codes[level]]
        mean = mean_score(data, total)
        phi = numpyro.sample(
            "overdispersion",
            dist.Gamma(GAMMA_SHAPE, 1.0 / gamma_unit(data.priors["overdispersion"].scale))
            .expand((len(data.labels["task"]),))
            .to_event(1),
        )
        p = data.edge + (1.0 - 2.0 * data.edge) * mean
        scale = jnp.sqrt(p * (1.0 - p) * (data.inverse_items + phi[data.codes["task"]] ** 2))
        t = dist.StudentT(4.0, mean[inside], scale[inside])
        numpyro.factor("scores", t.log_prob(data.score[inside]).sum())
        if len(ends):
            # The mean lies in [0, 1], so what is censored is always a lower tail.
            t = jnp.where(nearest, mean[ends] - 1.0, -mean[ends]) / scale[ends]
            q = 1.0 + t**2 / 4.0
            s = t / jnp.sqrt(q)
            tail = 2.0 * jnp.log(4.0 / (q * (2.0 - s))) + jnp.log((4.0 - s) / 32.0)
            numpyro.factor("scores_at_an_end", tail.sum())

    return model


def sample(
    data: Data, draws: int, tune: int, chains: int, seed: int, chain_method: str = "parallel"
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, float]]:
    """Draws (chain, draw, …), statistics of the sampler, and the time after compilation."""
    if chain_method == "parallel" and chains > jax.local_device_count():
        chain_method = "vectorized"
    compiled = [(0.0, Clock())]  # the longest compilation, and a clock that started at its end

    def notice(event: str, seconds: float, **_: Any) -> None:
        if event.endswith("backend_compile_duration") and seconds > compiled[0][0]:
            compiled[0] = (seconds, Clock())

    jax.monitoring.register_event_duration_secs_listener(notice)
    mcmc = MCMC(
        NUTS(make_model(data), target_accept_prob=TARGET_ACCEPT),
        num_warmup=tune,
        num_samples=draws,
        num_chains=chains,
        chain_method=chain_method,
        progress_bar=False,
    )
    mcmc.run(jax.random.key(seed), extra_fields=("num_steps", "diverging"))
    found, stats = (
        {name: np.asarray(value) for name, value in group.items()}
        for group in (mcmc.get_samples(group_by_chain=True), mcmc.get_extra_fields(True))
    )
    # All chains are one program, and it is the longest to compile: what came after is sampling.
    wall, cpu = compiled[0][1].read()
    jax.monitoring.unregister_event_duration_listener(notice)
    return found, stats, {"wall": wall, "cpu": cpu}


def run(
    obs: xr.Dataset,
    law: Any,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    seed: int = 1,
    chain_method: str = "parallel",
) -> dict[str, Any]:
    """Sample; `law` is a ContextLaw on which ``build_model(obs)`` was called."""
    data = Data.of_law(obs, law)
    clock = Clock()
    found, stats, sampling = sample(data, draws, tune, chains, seed, chain_method)
    spent = clock.read()
    return outcome(
        data.dataset(found),
        stats["num_steps"],
        stats["diverging"].sum(),
        spent,
        sampling,
        note=f"{', '.join(CENTRED)} of tasks centred, target acceptance {TARGET_ACCEPT}, "
        f"chains {chain_method}",
    )


def broken(
    at: Data,
    beyond: Mapping[str, tuple[np.ndarray, np.ndarray]],
    untried: np.ndarray,
    draws: int,
    rng: np.random.Generator,
) -> Data:
    """The rows with x, z and w as draws, (draw, row): exponents may break at the data's edges.

    One log unit beyond the data of a task counts for a log-normal number of them, which is drawn
    once for a task and a side; one of w nearer to the end than a checkpoint was tried, once for it.
    """
    moved = {}
    for axis, (below, above) in beyond.items():
        moved[axis] = np.broadcast_to(getattr(at, axis), (draws, len(below)))
        for away in (-below, above):
            unit = rng.standard_normal((draws, len(at.labels["task"])))
            change = np.expm1(BREAKS[axis] * unit)
            moved[axis] = moved[axis] + away * change[:, at.codes["task"]]
    change = np.expm1(OWN_BREAK * rng.standard_normal((draws, len(at.labels["llm"]))))
    moved["w"] = moved["w"] + untried * change[:, at.codes["llm"]]
    return replace(at, **moved)


def forecast(
    at: Data,
    beyond: Mapping[str, tuple[np.ndarray, np.ndarray]],
    untried: np.ndarray,
    found: dict[str, np.ndarray],
    seed: int,
    ci_prob: float = 0.9,
) -> np.ndarray:
    """Ends of the response interval, (2, row), at the rows of `at`.

    Parameters
    ----------
    at : Data
        Rows to predict.
    beyond : mapping
        By axis, how far below and above the data of their task they lie.
    untried : ndarray
        How much nearer to the window's end they are than their checkpoint was tried.
    found : dict of str to ndarray
        Draws, (chain, draw, …).
    seed : int
    ci_prob : float
        Probability of the equal-tailed interval.
    """

    def flat(name: str) -> np.ndarray:
        return found[name].reshape(-1, *found[name].shape[2:])

    total, rng = {}, np.random.default_rng(seed)
    for name in at.terms.parameters:
        total[name] = flat(f"mu_{name}")[:, None]
        for level in at.varying(name):
            total[name] = total[name] + flat(f"{name}_{level}")[:, at.codes[level]]
    moved = broken(at, beyond, untried, len(total["A"]), rng)
    mean = mean_score(moved, total, np, scipy_expit)
    p = at.edge + (1.0 - 2.0 * at.edge) * mean
    phi = flat("overdispersion")[:, at.codes["task"]]
    scale = np.sqrt(p * (1.0 - p) * (at.inverse_items + phi**2))
    noise = rng.standard_t(4, size=mean.shape)
    scores = np.clip(mean + scale * noise, 0.0, 1.0)
    return np.quantile(scores, [(1.0 - ci_prob) / 2.0, (1.0 + ci_prob) / 2.0], axis=0)


def main() -> None:
    """The whole job in one process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=DATASETS, default="montgomery2025")
    parser.add_argument("--out", required=True, help="netCDF file to write")
    parser.add_argument("--at", help="CSV file of the rows to predict (default: 30 a task)")
    parser.add_argument(
        "--references", help="compute,prompt_tokens: where A and B are stated (default: centre)"
    )
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--tune", type=int, default=1000)
    parser.add_argument("--chains", type=int, default=DEVICES)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    obs = load_dataset(options.dataset)
    terms, levels = LawTerms(), parse_groups(DEFAULT_LEVELS)
    encoding = Encoding.of(obs, levels)
    if options.references:
        values = map(float, options.references.split(","))
        encoding = encoding.at_references(
            dict(zip(("compute", "prompt_tokens"), values, strict=True))
        )
    data = Data.of(obs, encoding, levels, default_priors(levels, terms.parameters), terms)
    table = pd.read_csv(options.at) if options.at else forecast_table(obs)
    design = as_design(table)
    at = Data.of(design, encoding, levels, data.priors, terms)
    found, stats, _ = sample(data, options.draws, options.tune, options.chains, options.seed)
    beyond = encoding.beyond(design)
    untried = encoding.untried(design, beyond["w"][1])
    lower, upper = forecast(at, beyond, untried, found, options.seed)
    out = xr.Dataset.from_dataframe(table.rename_axis("obs_id"))
    out["lower"], out["upper"] = ("obs_id", lower), ("obs_id", upper)
    out.to_netcdf(options.out)
    print(f"{stats['diverging'].sum()} divergences; intervals written to {options.out}")


if __name__ == "__main__":
    main()
