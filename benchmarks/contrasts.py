"""Is P(a > b) of a contrast uniform where two techniques do not differ? Simulated data.

    python benchmarks/contrasts.py --sets 200

fits simulated evaluations of two techniques that share everything but a small effect of each
checkpoint, and prints the Kolmogorov–Smirnov test of P(a > b) against uniform: of the mean score
over all rows and of kappa. Then one set in which kappa is 8 and 3.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import scipy.stats

import bayes_ctxlaw as bcl
from bayes_ctxlaw.judgement import convergence

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from two_techniques import NAMES, simulated


def found(seed: int, kappas: tuple[float, float]) -> list[float]:
    """P(a > b) of the mean score and of kappa, and the largest R-hat of the fit."""
    law = bcl.ContextLaw()
    idata = law.fit(
        simulated(seed, kappas), draws=300, tune=400, chains=2, thin=1, random_seed=seed,
        progressbar=False,
    )  # fmt: skip
    contrast = bcl.contrast(law, "technique", *NAMES)
    r_hat = float(convergence(idata).loc["largest R-hat", "value"])
    kappa = contrast.parameters["prob_greater"].sel(parameter="kappa")
    return [float(contrast.overall["prob_greater"]), float(kappa), r_hat]


def main() -> None:
    """Fit, test and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=200)
    options = parser.parse_args()
    begin = time.perf_counter()
    rows = []
    for seed in range(options.sets):
        rows.append(found(seed, (5.0, 5.0)))
        if len(rows) % 20 == 0:
            report(np.array(rows))
    table = np.array(rows)
    worst = table[:, 2]
    print(f"largest R-hat of a fit: median {np.median(worst):.3f}, at most {worst.max():.3f}")
    different = found(options.sets, (8.0, 3.0))
    print(f"kappa 8 against 3: P(kappa greater) {different[1]:.4f}")
    print(f"{time.perf_counter() - begin:.0f} s")


def report(table: np.ndarray) -> None:
    """Print the tests of the sets so far."""
    for number, name in enumerate(("mean score", "kappa")):
        test = scipy.stats.kstest(table[:, number], "uniform")
        share = np.mean((table[:, number] < 0.05) | (table[:, number] > 0.95))
        low, high = np.quantile(table[:, number], [0.25, 0.75])
        print(
            f"no difference, {len(table)} sets, P(a > b) of the {name}: Kolmogorov-Smirnov "
            f"D {test.statistic:.3f}, p {test.pvalue:.3f}; outside 0.05 to 0.95 in {share:.3f}, "
            f"half of them within {low:.2f} to {high:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
