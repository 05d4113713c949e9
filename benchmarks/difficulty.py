"""Clustering on difficulty against an end-to-end curve, on simulated populations of items.

    python benchmarks/difficulty.py [populations] [first seed] [checkpoint_sd] [emergence_from]

Eight checkpoints are fitted; the score of one with ten times the compute of the largest is
forecast. Everything is simulated. Thresholds of emergent items lie from `emergence_from` to 1.5
decades beyond the largest checkpoint. The end-to-end curve is the law of a cluster fitted to the
score of the whole set, which has no interval. Interval: equal-tailed, 90 %, of the response.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd

from bayes_ctxlaw.rivals.difficulty import DifficultyClusters, simulate_items
from bayes_ctxlaw.rivals.difficulty.curves import fit_curve

METHODS = ("bayesian", "published")


def forecasts(seed: int, **options: float | tuple[float, float]) -> list[dict[str, float]]:
    """Forecasts of one population by every method."""
    items = simulate_items(random_seed=seed, **options)
    small, compute = items.isel(llm=slice(-1)), items["compute"].values
    score = (items["n_correct"] / items["n_samples"]).mean("item").values
    curve = float(fit_curve(compute[:-1], score[:-1])(compute[-1]))
    rows = [{"method": "end to end", "error": curve - score[-1], "seed": seed}]
    at = [{"task": "simulated task", "llm": "target", "compute": compute[-1]}]
    for method in METHODS:
        start = time.perf_counter()
        law = DifficultyClusters(method=method).fit(small, random_seed=seed)
        seconds = time.perf_counter() - start
        found = law.predict(at).isel(obs_id=0)
        name = "point" if method == "published" else "median"
        rows.append(
            {
                "method": method,
                "error": float(found[name]) - score[-1],
                "inside": float(found["lower"] <= score[-1] <= found["upper"]),
                "width": float(found["upper"] - found["lower"]),
                "seconds": seconds,
                "seed": seed,
            }
        )
    return rows


def main(populations: int, first: int, checkpoint_sd: float, emergence_from: float) -> None:
    rows, emergence = [], (emergence_from, 1.5)
    for seed in range(first, first + populations):
        rows += forecasts(seed, checkpoint_sd=checkpoint_sd, emergence=emergence)
        print(".", end="", flush=True, file=sys.stderr)
    table = pd.DataFrame(rows)
    table["mae"], table["rmse"] = table["error"].abs(), table["error"] ** 2
    out = table.groupby("method")[["mae", "rmse", "error", "inside", "width", "seconds"]].mean()
    out["rmse"] = np.sqrt(out["rmse"])
    out["of end to end"] = out["mae"] / out.loc["end to end", "mae"]
    print(
        f"\n{populations} simulated populations, seeds from {first}, {checkpoint_sd=}, {emergence=}"
    )
    print(out.rename(columns={"error": "bias"}).round(4).to_string())


if __name__ == "__main__":
    given = sys.argv[1:] + ["100", "1000", "0.1", "-2.5"][len(sys.argv) - 1 :]
    main(int(given[0]), int(given[1]), float(given[2]), float(given[3]))
