"""What do fits of small tables cost, and do they pass? A dozen scores say little of any parameter.

    python benchmarks/small_tables.py --seeds 1 2

simulates small tables from the law, fits each with the defaults, and prints the leapfrog steps of a
sampler step, effective draws, divergences and what the checks of convergence say.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd

import bayes_ctxlaw as bcl
from bayes_ctxlaw.judgement import convergence

TABLES = {
    "2 tasks, 2 checkpoints, 3 lengths, 500 items": (2, 2, (128, 512, 2048), 500),
    "the same, 100 items": (2, 2, (128, 512, 2048), 100),
    "the same, number of items unknown": (2, 2, (128, 512, 2048), None),
    "1 task, 3 checkpoints, 4 lengths, 500 items": (1, 3, (128, 512, 2048, 3500), 500),
    "4 tasks, 3 checkpoints, 4 lengths (one past the window)": (4, 3, (128, 512, 2048, 8192), 500),
}


def table(tasks: int, llms: int, lengths: tuple[int, ...], items: int | None) -> pd.DataFrame:
    """Scores of a table, simulated; a window of 4,096 tokens."""
    rng, rows = np.random.default_rng(0), []
    for task in range(tasks):
        for llm in range(llms):
            compute = 10.0 ** (22.0 + 0.7 * llm)
            for tokens in lengths:
                level = 1.0 - np.exp(-(0.6 + 0.4 * task) * (compute / 1e23) ** 0.3)
                expected = level * (1.0 - np.exp(-((tokens / 300.0) ** 0.6)))
                expected /= 1.0 + (tokens / 4500.0) ** 8
                rows.append(
                    {
                        "task": f"task {task}",
                        "llm": f"llm {llm}",
                        "compute": compute,
                        "prompt_tokens": tokens,
                        "context_window": 4096,
                        "score": rng.binomial(items or 500, expected) / (items or 500),
                        "n_items": items,
                    }
                )
    frame = pd.DataFrame(rows)
    return frame if items else frame.drop(columns="n_items")


def report(name: str, obs: object, seed: int, **options: object) -> None:
    """Fit with the defaults but for these options, and print what came of it."""
    law, start = bcl.ContextLaw(**options), time.perf_counter()
    law.fit(obs, random_seed=seed, progressbar=False)
    seconds = time.perf_counter() - start
    checks, kept = convergence(law.idata, derived=True), law.idata["posterior"].attrs
    steps = float(law.idata["sample_stats"]["n_steps"].mean()) / kept["fit_thin"]
    failed = ", ".join(checks.index[~checks["passed"]])
    print(
        f"{name} (simulated), seed {seed}: {steps:.0f} leapfrog steps a sampler step, "
        f"{kept['fit_thin']} sampler steps a draw, target {kept['fit_target_accept']:g}, "
        f"{seconds:.0f} s; {failed or 'passes'}",
        checks["value"].round(3).to_string(),
        sep="\n",
        flush=True,
    )


def main() -> None:
    """Fit every table, print a line for each fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    for name, shape in TABLES.items():
        obs = bcl.as_observations(table(*shape))
        for seed in options.seeds:
            report(name, obs, seed)
            if "n_items" not in obs:
                loose = {"overdispersion": bcl.half_normal(0.1)}
                report(f"{name}, noise not kept away from 0", obs, seed, priors=loose)


if __name__ == "__main__":
    main()
