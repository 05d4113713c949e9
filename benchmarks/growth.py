"""How does the cost of a fit grow with the number of design cells?

    python benchmarks/growth.py

simulates one hierarchy after the other from the prior of the default law, from 100 to 5,000 cells,
the largest with 200 checkpoints, and fits each. The data are simulated, and labelled so. Printed
are the cells, the values that the sampler moves, the time of a gradient, leapfrog steps a draw, and
the CPU seconds of sampling, with the ratio to the line above.
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np
import xarray as xr
from _common import Clock, clocked

import bayes_ctxlaw as bcl
from bayes_ctxlaw import kernel, sampling
from bayes_ctxlaw.density import build_density
from bayes_ctxlaw.simulate import prior_draws, simulate_scores

SIZES = ((100, 10), (500, 40), (1000, 80), (5000, 200))


def simulated(cells: int, llms: int, seed: int) -> xr.Dataset:
    """Five tasks, checkpoints of ten families, extended in four ways; prompts past their window."""
    rng = np.random.default_rng(seed)
    tasks = 5
    lengths = cells // (tasks * llms)
    rows = []
    for m in range(llms):
        window = float(rng.choice([8192, 32768, 131072]))
        compute = 10.0 ** rng.uniform(21.5, 25.0)
        for t in range(tasks):
            for tokens in np.geomspace(100.0, 2.0 * window, max(lengths, 2)):
                rows.append(
                    {
                        "task": f"task {t}", "llm": f"llm {m}", "family": f"family {m % 10}",
                        "technique": ("none", "PI", "YaRN", "NTK")[m % 4], "compute": compute,
                        "context_window": window, "prompt_tokens": tokens, "n_items": 500,
                        "score": 0.5, "source": "simulated",
                    }
                )  # fmt: skip
    rows[0]["score"] = 0.4  # scores that are all equal would be refused
    obs = bcl.as_observations(rows)
    law = bcl.ContextLaw(likelihood="student_t")
    law._prepare(obs)
    draws = prior_draws(law.spec, law.encoding, 1, rng)
    # One draw of the hierarchy that is neither all floor nor all ceiling.
    centre = {"mu_A": 0.0, "mu_alpha": -1.2, "mu_B": 0.5, "mu_beta": -0.4, "mu_kappa": 2.4}
    draws |= {name: np.full(1, value) for name, value in (centre | {"mu_delta": 0.0}).items()}
    scores = simulate_scores(law.spec, law.encoding, draws, obs, seed)[0]
    return obs.assign(score=("obs_id", scores))


def cost_of_gradient(law: bcl.ContextLaw) -> tuple[float, int]:
    """Microseconds of a gradient where chains start, and by how many values it is."""
    density = build_density(law.obs, law.spec, law.encoding, law._geometry)
    kernel.evaluate(density.program, density.start)
    rounds = []
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(100):
            kernel.evaluate(density.program, density.start)
        rounds.append((time.perf_counter() - begin) / 100)
    return 1e6 * min(rounds), density.n_dim


def main() -> None:
    """Fit all sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--tune", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    before: dict[int, float] = {}
    print("cells  llms  values  mode s  µs/gradient  steps/draw  CPU s sampling  R-hat")
    for cells, llms in SIZES:
        obs = simulated(cells, llms, options.seed)
        law, clock = bcl.ContextLaw(likelihood="student_t"), Clock()
        law._prepare(obs)
        mode = clock.read()[0]
        with clocked(sampling, "sample") as sampled:
            idata = law.fit(
                obs,
                draws=options.draws,
                tune=options.tune,
                thin=1,
                random_seed=options.seed,
                progressbar=False,
            )
        import arviz as az

        rhat = az.rhat(idata["posterior"].to_dataset())
        worst = max(float(value.max()) for value in rhat.data_vars.values())
        steps = float(idata["sample_stats"]["n_steps"].mean())
        gradient, n_dim = cost_of_gradient(law)
        before[len(obs["obs_id"])] = sampled["cpu"]
        print(
            f"{len(obs['obs_id']):5d} {llms:5d} {n_dim:7d} {mode:7.1f} {gradient:12.0f} "
            f"{steps:11.1f} {sampled['cpu']:15.1f} {worst:6.3f}",
            flush=True,
        )
    sizes = sorted(before)
    for small, large in itertools.pairwise(sizes):
        print(f"{small} → {large} cells: sampling × {before[large] / before[small]:.1f}")
    if {500, 5000} <= set(sizes):
        print(f"500 → 5000 cells: sampling × {before[5000] / before[500]:.1f} (bar: 12)")


if __name__ == "__main__":
    main()
