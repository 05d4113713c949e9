"""Do the rivals sample the same posterior as ContextLaw?

    python benchmarks/same_density.py

draws points from the prior, some of them far out, and compares the joint log-density of population
values, scales, effects, overdispersion and scores: that of the package's law, priors and
likelihood, evaluated in NumPy, with those of both rivals. The rivals sample other variables, so
theirs are divided by the change of variables. What is left should be a constant (PyMC rounds
those of its normal densities) and rounding errors.
"""

from __future__ import annotations

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
from bayes_ctxlaw.law import PARAMETERS, mean_score
from bayes_ctxlaw.likelihoods import censored_t_logp, edge_and_inverse, item_counts, noise_sd

POINTS = 40


def random_point(data: Data, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A draw of all shared parameters from the prior."""
    point: dict[str, Any] = {}
    for name in PARAMETERS:
        prior = data.priors[name]
        point[f"mu_{name}"] = prior.loc + prior.scale * rng.standard_normal()
        for level in data.acting(name):
            key = f"{name}_{level}_sd"
            point[key] = data.priors[key].scale * abs(rng.standard_normal())
            if level in data.varying(name):
                size = len(data.labels[level])
                point[f"{name}_{level}"] = point[key] * rng.standard_normal(size)
    scale = data.priors["overdispersion"].scale
    point["overdispersion"] = scale * abs(rng.standard_normal(len(data.labels["task"])))
    return {name: np.asarray(value) for name, value in point.items()}


def of_package(obs: xr.Dataset, law: Any, data: Data, point: dict[str, np.ndarray]) -> float:
    """Log-density of the shared parameters and the scores, from the parts of the package."""
    value, total = 0.0, {}
    for name in PARAMETERS:
        prior = law.priors[name]
        total[name] = np.full(obs.sizes["obs_id"], point[f"mu_{name}"])
        value += st.norm.logpdf(point[f"mu_{name}"], prior.loc, prior.scale)
        for level in data.acting(name):
            key, sd = f"{name}_{level}_sd", point[f"{name}_{level}_sd"]
            value += st.halfnorm.logpdf(sd, scale=law.priors[key].scale)
            if level in data.varying(name):
                effect = point[f"{name}_{level}"]
                value += st.norm.logpdf(effect, 0.0, sd).sum()
                total[name] = total[name] + effect[law.encoding.codes(obs, level)]
    arguments = {"log_A": total["A"], "log_B": total["B"], "delta": total["delta"]}
    arguments |= {name: np.exp(total[name]) for name in ("alpha", "beta", "kappa")}
    mean = mean_score(arguments, law.encoding.design(obs, law.terms), law.terms)
    phi = point["overdispersion"]
    value += st.halfnorm.logpdf(phi, scale=law.priors["overdispersion"].scale).sum()
    phi = phi[law.encoding.codes(obs, "task")]
    scale = noise_sd(mean, phi, *edge_and_inverse(item_counts(obs)))
    return float(value + censored_t_logp(obs["score"].values, mean, scale).sum())


def standard_scores(
    data: Data, point: dict[str, np.ndarray], centred: tuple[str, ...] = ()
) -> tuple[dict[str, np.ndarray], float]:
    """The point in a rival's variables, and the logarithm of their volume per that of effects."""
    out, log_volume = dict(point), 0.0
    for name in PARAMETERS:
        for level in data.varying(name):
            effect, sd = out.pop(f"{name}_{level}"), point[f"{name}_{level}_sd"]
            if level in centred:
                out[f"{name}_{level}_total"] = point[f"mu_{name}"] + effect
            else:
                out[f"{name}_{level}_raw"] = effect / sd
                log_volume -= effect.size * np.log(sd)
    return out, float(log_volume)


def of_pymc(model: pm.Model) -> Any:
    """Function of a point on the natural scale → log-density of the model."""
    compiled = model.compile_logp(jacobian=False)

    def log_density_at(point: dict[str, np.ndarray]) -> float:
        # PyMC moves what must be above 0 on the log scale.
        names = {rv.name: model.rvs_to_values[rv].name for rv in model.free_RVs}
        return float(
            compiled(
                {
                    names[name]: np.log(value) if names[name].endswith("_log__") else value
                    for name, value in point.items()
                }
            )
        )

    return log_density_at


def main() -> None:
    """Compare the densities on both data sets."""
    for dataset in DATASETS:
        obs, law = bcl.load_dataset(dataset), bcl.ContextLaw()
        law.build_model(obs)
        data, rng = Data.of_law(obs, law), np.random.default_rng(1)
        by_hand = numpyro_by_hand.make_model(data)
        textbook = of_pymc(textbook_pymc.build(obs, law))
        censored = of_pymc(textbook_pymc.build(obs, law, censored=True))
        differences: dict[str, list[float]] = {}
        for _ in range(POINTS):
            point = random_point(data, rng)
            ours = of_package(law.obs, law, data, point)
            raw, volume = standard_scores(data, point)
            half, half_volume = standard_scores(data, point, centred=("task",))
            others = {
                "textbook": textbook(raw) + volume,
                "textbook, pm.Censored": censored(raw) + volume,
                "numpyro": float(log_density(by_hand, (), {}, half)[0]) + half_volume,
            }
            for name, value in others.items():
                differences.setdefault(name, []).append(value - ours)
        for name, values in differences.items():
            constant = float(np.median(values))
            print(
                f"{dataset:>15} {name:>22}: log-density at {POINTS} points differs by "
                f"{constant:.1e}, give or take {np.abs(np.array(values) - constant).max():.1e}"
            )


if __name__ == "__main__":
    main()
