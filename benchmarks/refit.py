"""What does a second fit of the same design cost, when only the scores differ?

    python benchmarks/refit.py           # whatever the disk has kept from earlier processes
    python benchmarks/refit.py --cold    # as on a machine that never compiled anything
    python benchmarks/refit.py --ladder  # of a Bayesian TaskLadder on the bundled training runs

fits the bundled figures' points, simulates other scores from that posterior, and fits those with
the same ContextLaw in the same process. Backtests and simulation studies do this many times.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time


def main() -> None:
    """Fit, simulate, fit again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cold", action="store_true", help="start with empty compile caches")
    parser.add_argument("--ladder", action="store_true", help="of a TaskLadder")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--tune", type=int, default=1000)
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as fresh:
        if options.cold:
            # Numba and PyTensor read where their caches are once, when they are imported.
            os.environ["NUMBA_CACHE_DIR"] = fresh
            flags = [os.environ.get("PYTENSOR_FLAGS", ""), f"base_compiledir={fresh}"]
            os.environ["PYTENSOR_FLAGS"] = ",".join(filter(None, flags))
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Time both fits."""
    started = time.perf_counter()
    import numpy as np

    import bayes_ctxlaw as bcl

    if options.ladder:
        ladder = bcl.load_dataset("ladder")
        obs, law = ladder.isel(obs_id=ladder["role"].values == "train"), bcl.rivals.TaskLadder()
    else:
        obs, law = bcl.load_dataset("montgomery2025"), bcl.ContextLaw()
    imported = time.perf_counter() - started
    size = {"draws": options.draws, "tune": options.tune, "chains": options.chains}

    def timed_fit(data: object, seed: int) -> float:
        start = time.perf_counter()
        law.fit(data, random_seed=seed, progressbar=False, **size)
        return time.perf_counter() - start

    first = timed_fit(obs, options.seed)
    samples = law.predict(obs, samples=True)["samples"].stack(sample=("chain", "draw"))
    pick = np.random.default_rng(options.seed).integers(samples.sizes["sample"])
    second = timed_fit(
        obs.assign(score=("obs_id", samples.isel(sample=pick).values)), options.seed + 1
    )
    print(f"compile caches on disk at the start: {'empty' if options.cold else 'as found'}")
    print(f"import of the package and data: {imported:.2f} s")
    print(f"first fit: {first:.2f} s\nsecond fit, other scores: {second:.2f} s")
    print(f"second ÷ first: {second / first:.3f}")


if __name__ == "__main__":
    main()
