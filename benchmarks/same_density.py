"""Do the rivals sample the same posterior as ContextLaw?

    python benchmarks/same_density.py

draws points from the prior, some of them far out, and compares the joint log-density of population
values, scales, effects, overdispersion and scores: that of the package's law, priors and
likelihood, evaluated in NumPy, with those of the PyMC model that ``build_model`` returns and of
both rivals, with and without a share rho and a dilution. All of these sample other variables, so
theirs are divided by the change of variables. What is left should be a constant (PyMC rounds
those of its normal densities) and rounding errors; if it is more, the process ends with an error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpyro_by_hand
import pymc as pm
import scipy.stats as st
import textbook_pymc
import xarray as xr
from _common import DATASETS, Data
from numpyro.infer.util import log_density

import bayes_ctxlaw as bcl
from bayes_ctxlaw.encoding import level_dim
from bayes_ctxlaw.law import DILUTIONS, ZERO_CONTEXTS, law_arguments, mean_score
from bayes_ctxlaw.likelihoods import censored_t_logp, edge_and_inverse, item_counts, noise_sd
from bayes_ctxlaw.priors import GAMMA_SHAPE, gamma_unit, scale_name

POINTS = 40

ROUNDING = 1e-10
"""Largest difference that may be rounding, as a share of the largest log-density."""

Point = dict[str, np.ndarray]


def random_point(law: Any, rng: np.random.Generator) -> Point:
    """A draw of all shared parameters from the prior."""
    point: dict[str, Any] = {}
    for name in law.terms.parameters:
        prior = law.priors[name]
        point[f"mu_{name}"] = prior.loc + prior.scale * rng.standard_normal()
        for level in law.spec.levels_of(name, law.encoding):
            key = scale_name(name, level)
            point[key] = law.priors[key].scale * abs(rng.standard_normal())
            if level in law.spec.effects_of(name, law.encoding):
                size = len(law.encoding.labels[level])
                point[f"{name}_{level_dim(level)}"] = point[key] * rng.standard_normal(size)
    unit = gamma_unit(law.priors["overdispersion"].scale)
    point["overdispersion"] = rng.gamma(GAMMA_SHAPE, unit, len(law.encoding.labels["task"]))
    return {name: np.asarray(value) for name, value in point.items()}


def of_package(law: Any, point: Point) -> float:
    """Log-density of the shared parameters and the scores, from the parts of the package."""
    obs, encoding = law.obs, law.encoding
    value, totals = 0.0, {}
    for name in law.terms.parameters:
        prior = law.priors[name]
        totals[name] = np.full(obs.sizes["obs_id"], point[f"mu_{name}"])
        value += st.norm.logpdf(point[f"mu_{name}"], prior.loc, prior.scale)
        for level in law.spec.levels_of(name, encoding):
            key = scale_name(name, level)
            value += st.halfnorm.logpdf(point[key], scale=law.priors[key].scale)
            if level in law.spec.effects_of(name, encoding):
                effect = point[f"{name}_{level_dim(level)}"]
                value += st.norm.logpdf(effect, 0.0, point[key]).sum()
                totals[name] = totals[name] + effect[encoding.codes(obs, level)]
    mean = mean_score(law_arguments(totals), encoding.design(obs, law.terms), law.terms)
    phi = point["overdispersion"]
    unit = gamma_unit(law.priors["overdispersion"].scale)
    value += st.gamma.logpdf(phi, GAMMA_SHAPE, scale=unit).sum()
    scale = noise_sd(
        mean, phi[encoding.codes(obs, "task")], *edge_and_inverse("student_t", item_counts(obs))
    )
    return float(value + censored_t_logp(obs["score"].values, mean, scale).sum())


def in_variables(
    data: Data, point: Point, is_centred: Callable[[str, str], bool]
) -> tuple[Point, float]:
    """The point in a model's variables, and the logarithm of their volume per that of effects."""
    out, log_volume = dict(point), 0.0
    for name in data.terms.parameters:
        for level in data.varying(name):
            effect, sd = out.pop(f"{name}_{level}"), point[f"{name}_{level}_sd"]
            if is_centred(name, level):
                out[f"{name}_{level}_total"] = point[f"mu_{name}"] + effect
            else:
                out[f"{name}_{level}_raw"] = effect / sd
                log_volume -= effect.size * np.log(sd)
    return out, float(log_volume)


def of_pymc(model: pm.Model, data: Data) -> Callable[[Point], float]:
    """Log-density of the shared parameters under a model that is non-centred throughout."""
    compiled = model.compile_logp(jacobian=False)
    names = {rv.name: model.rvs_to_values[rv].name for rv in model.free_RVs}

    def log_density_at(point: Point) -> float:
        raw, log_volume = in_variables(data, point, lambda name, level: False)
        # PyMC moves what must be above 0 on the log scale.
        values = {
            names[name]: np.log(value) if names[name].endswith("_log__") else value
            for name, value in raw.items()
        }
        return float(compiled(values)) + log_volume

    return log_density_at


def of_numpyro(data: Data) -> Callable[[Point], float]:
    """The same under the NumPyro model."""
    model = numpyro_by_hand.make_model(data)

    def log_density_at(point: Point) -> float:
        values, log_volume = in_variables(data, point, numpyro_by_hand.is_centred)
        return float(log_density(model, (), {}, values)[0]) + log_volume

    return log_density_at


def compare(obs: xr.Dataset, law: Any) -> dict[str, tuple[float, float, bool]]:
    """By model: the constant difference, the largest deviation from it, whether it is rounding."""
    graph = law.build_model(obs)
    data, rng = Data.of_law(obs, law), np.random.default_rng(1)
    models = {
        "build_model": of_pymc(graph, data),
        "textbook": of_pymc(textbook_pymc.build(obs, law), data),
        "textbook, pm.Censored": of_pymc(textbook_pymc.build(obs, law, censored=True), data),
        "numpyro": of_numpyro(data),
    }
    points = [random_point(law, rng) for _ in range(POINTS)]
    ours = np.array([of_package(law, point) for point in points])
    found = {}
    for name, model in models.items():
        differences = np.array([model(point) for point in points]) - ours
        constant = float(np.median(differences))
        away = np.abs(differences - constant)
        found[name] = constant, float(away.max()), bool(away.max() < ROUNDING * np.abs(ours).max())
    return found


def main() -> None:
    """Compare the densities on both data sets, for every law that the rivals know."""
    other = []
    for dataset, dilution, zero_context in itertools.product(DATASETS, DILUTIONS, ZERO_CONTEXTS):
        law = bcl.ContextLaw(dilution=dilution, zero_context=zero_context)
        print(f"{dataset}, dilution={dilution!r}, zero_context={zero_context!r}: log-density at")
        print(f"  {POINTS} points differs from that of the package's parts by")
        for name, (constant, away, same) in compare(bcl.load_dataset(dataset), law).items():
            print(f"  {name:>22}: {constant:8.1e}, give or take {away:.1e}", flush=True)
            if not same:
                other.append(f"{name} on {dataset}, dilution={dilution}, {zero_context=}")
    if other:
        raise SystemExit(f"not the same density: {'; '.join(other)}")


if __name__ == "__main__":
    main()
