"""From the start of a Python process to 90 % intervals on disk: ContextLaw against NumPyro by hand.

    python benchmarks/whole_process.py

runs each twice, in processes of their own: imports, data, fit, intervals at 30 prompt lengths for
each task, file. The second run is what somebody waits for who has used the package before on this
machine; with ``--cold`` the first starts with empty compile caches, as on a new machine. NumPyro
keeps nothing between processes unless told to: ``--jax-cache`` tells it to.

Both state their priors at the same references and predict at the same rows, so the ends of their
intervals should differ by no more than Monte Carlo error, and the largest difference is printed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray as xr
from _common import DATASETS, forecast_table

import bayes_ctxlaw as bcl
from bayes_ctxlaw.law import LawTerms

HERE = Path(__file__).resolve().parent

OURS = """
import sys
import bayes_ctxlaw as bcl
dataset, at, out, draws, tune = sys.argv[1:]
size = {"draws": int(draws), "tune": int(tune)}
law = bcl.ContextLaw()
law.fit(bcl.load_dataset(dataset), random_seed=1, progressbar=False, **size)
intervals = law.predict(at)
intervals.attrs["references"] = [
    law.encoding.compute_reference, law.encoding.prompt_tokens_reference
]
intervals.to_netcdf(out)
"""


def timed(command: list[str], environment: dict[str, str]) -> float:
    """Wall seconds of a process; what it says is shown only if it fails."""
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:3])} failed:\n{done.stderr}")
    return seconds


def main() -> None:
    """Run both twice and print the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=DATASETS, default="montgomery2025")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--tune", type=int, default=1000)
    parser.add_argument("--cold", action="store_true", help="begin with empty compile caches")
    parser.add_argument("--jax-cache", action="store_true", help="let JAX keep what it compiles")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(options, Path(folder))


def compare(options: argparse.Namespace, folder: Path) -> None:
    if bcl.ContextLaw().terms != LawTerms():
        raise SystemExit("the rival takes its terms from LawTerms(), whose defaults are others")
    environment = dict(os.environ)
    if options.cold:
        flags = [environment.get("PYTENSOR_FLAGS", ""), f"base_compiledir={folder / 'pytensor'}"]
        environment["PYTENSOR_FLAGS"] = ",".join(filter(None, flags))
        environment["NUMBA_CACHE_DIR"] = str(folder / "numba")
    if options.jax_cache:
        environment["JAX_COMPILATION_CACHE_DIR"] = str(folder / "jax")
    at, ours, rival = (str(folder / name) for name in ("at.csv", "ours.nc", "numpyro.nc"))
    forecast_table(bcl.load_dataset(options.dataset)).to_csv(at, index=False)

    size = str(options.draws), str(options.tune)
    command = [sys.executable, "-c", OURS, options.dataset, at, ours, *size]
    times = {"ContextLaw": [timed(command, environment) for _ in range(2)]}
    one = xr.load_dataset(ours)
    references = ",".join(repr(float(value)) for value in one.attrs["references"])
    script = str(HERE / "numpyro_by_hand.py")
    command = [sys.executable, script, "--dataset", options.dataset, "--out", rival, "--at", at]
    command += ["--references", references, "--draws", size[0], "--tune", size[1]]
    times["NumPyro"] = [timed(command, environment) for _ in range(2)]
    other = xr.load_dataset(rival)

    print(f"{options.dataset}, wall seconds of a process    first    second")
    for name, (first, second) in times.items():
        print(f"{name:<45} {first:8.1f} {second:9.1f}")
    (a, b), (c, d) = times.values()
    print(f"{'ContextLaw ÷ NumPyro':<45} {a / c:8.3f} {b / d:9.3f}")
    ends = ("lower", "upper")
    gap = max(float(np.abs(one[end].values - other[end].values).max()) for end in ends)
    width = float((one["upper"] - one["lower"]).mean())
    print(f"largest difference of an interval's end {gap:.4f}; mean width {width:.4f}")


if __name__ == "__main__":
    main()
