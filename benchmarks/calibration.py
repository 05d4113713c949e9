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

import bayes_ctxlaw as bcl


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
    print(f"\nseconds: {time.perf_counter() - start:.0f} in all now, ", end="")
    print(f"{found.fits['seconds'].median():.1f} for a simulation (median)")
    print(f"fits longer than asked for: {(found.fits['steps'] > options.thin).sum()}")
    if options.plot:
        bcl.plots.plot_ranks(found)[0].figure.savefig(options.plot)


if __name__ == "__main__":
    main()
