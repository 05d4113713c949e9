"""Are the intervals of the default law those of its model? Simulation-based calibration.

    python benchmarks/calibration.py 200 --jobs 2 --folder sbc   # stop it and call it again at will

simulates scores at the design of the bundled figures' points from the law's prior, fits them, and
prints how the ranks of the true values are distributed. The references are those of a fit to the
figures' own scores: there the priors hold in use.
"""

from __future__ import annotations

import argparse
import time

import joblib
import numpy as np

import bayes_ctxlaw as bcl
from bayes_ctxlaw.simulate import prior_draws
from bayes_ctxlaw.validation.simulated_fit import seeds_of


def beside_prior(
    found: bcl.validation.ranks.Calibration, law: bcl.ContextLaw, name: str, seed: int
) -> str:
    """Whether ranks that are not uniform are those of the true values in their own prior.

    Where the data say next to nothing the posterior is the prior, and the true values are a sample
    of it that may be an odd one. What their place in the prior does not account for is left.
    """
    truth, ranks = [], found.ranks[name].values / found.n_draws
    for index, redrawn in found.fits["redrawn"].items():
        rng = np.random.default_rng(seeds_of(seed, int(index), int(redrawn))[0])
        truth.append(float(np.squeeze(prior_draws(law.spec, law.encoding, 1, rng)[name])))
    rng = np.random.default_rng(0)
    many = np.sort(prior_draws(law.spec, law.encoding, 100_000, rng)[name].ravel())
    place = np.searchsorted(many, truth) / len(many)
    r = np.corrcoef(place, ranks)[0, 1]
    left = ranks - r * ranks.std() / place.std() * (place - 0.5)
    error = left.std() / np.sqrt(len(left))
    return (
        f"{name}: true values in their own prior, by fifths "
        f"{np.histogram(place, 5, (0, 1))[0].tolist()}, correlation with the ranks {r:.2f}; mean "
        f"rank with a perfect sample of the prior {left.mean():.3f} ± {error:.3f}"
    )


def main() -> None:
    """Fit for the references, calibrate, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("simulations", type=int, nargs="?", default=200)
    parser.add_argument("--dataset", default="montgomery2025")
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--tune", type=int, default=500)
    parser.add_argument("--thin", type=int, default=20)
    parser.add_argument("--chains", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--folder", help="where every simulation is kept")
    parser.add_argument("--plot", help="file to draw the ranks to")
    options = parser.parse_args()

    obs, law = bcl.load_dataset(options.dataset), bcl.ContextLaw()
    law.fit(obs, draws=4, tune=1, chains=1, random_seed=1, progressbar=False)
    start = time.perf_counter()
    with joblib.parallel_config(backend="loky", n_jobs=options.jobs):
        found = bcl.calibrate(
            law,
            obs,
            options.simulations,
            draws=options.draws,
            tune=options.tune,
            thin=options.thin,
            chains=options.chains,
            random_seed=options.seed,
            folder=options.folder,
        )
    print(found)
    for name in found.table.index[~found.table["uniform"]]:
        if found.ranks[name].ndim == 1:
            print(beside_prior(found, law, name, options.seed))
    print(f"\nseconds: {time.perf_counter() - start:.0f} in all now, ", end="")
    print(f"{found.fits['seconds'].median():.1f} for a simulation (median)")
    print(f"fits longer than asked for: {(found.fits['steps'] > options.thin).sum()}")
    if options.plot:
        bcl.plots.plot_ranks(found)[0].figure.savefig(options.plot)


if __name__ == "__main__":
    main()
