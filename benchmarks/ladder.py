"""Do the ladder's intervals hold? Rolling origins inside the 16 runs of the bundled ladder.

    python benchmarks/ladder.py --out ladder.csv

fits every form of `TaskLadder` to smaller or shorter runs, predicts larger or longer ones, and
prints for each form and split the coverage of 90 % equal-tailed response intervals, their mean
width, and the mean absolute error of the median. Widths are also given over those of the bootstrap
of least squares, in the same form. The forms of N and D refuse fewer than three sizes, so the two
smallest origins are of compute alone. The two targets of the paper are not looked at, unless with

    python benchmarks/ladder.py --targets

which fits all 16 runs with the sampler's defaults, and judges 95 % and 90 % intervals of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import bayes_ctxlaw as bcl
from bayes_ctxlaw.errors import ObservationError
from bayes_ctxlaw.judgement import convergence
from bayes_ctxlaw.validation.splits import Fold

FORMS = (
    ("bayes", "task_loss"),
    ("bayes", "compute"),
    ("bayes", "direct"),
    ("bayes", "direct_compute"),
    ("least_squares", "task_loss"),
    ("least_squares", "compute"),
)

SIZES = {"190M": 2e8, "370M": 4e8, "760M": 8e8, "1.3B": 2e9}


def by_size(obs: xr.Dataset, up_to: str, predict: str) -> list[Fold]:
    """Fit sizes up to one, predict the next."""
    n = obs["n_params"].values
    sizes = list(SIZES.values())
    low = sizes[list(SIZES).index(predict) - 1]
    test = (n > low) & (n < SIZES[predict])
    name = f"up to {up_to}, predict {predict}"
    return [Fold(name, np.flatnonzero(n < SIZES[up_to]), np.flatnonzero(test))]


def by_length(obs: xr.Dataset, up_to: int, predict: int) -> list[Fold]:
    """Fit runs of up to so many times the Chinchilla-optimal tokens, predict the next."""
    times = np.round(obs["train_tokens"].values / obs["n_params"].values / 20)
    name = f"up to {up_to} times, predict {predict} times"
    return [Fold(name, np.flatnonzero(times <= up_to), np.flatnonzero(times == predict))]


def by_both(obs: xr.Dataset) -> list[Fold]:
    """Fit neither the largest size nor the longest runs, predict what is both."""
    n = obs["n_params"].values
    times = np.round(obs["train_tokens"].values / n / 20)
    train, test = (n < SIZES["760M"]) & (times <= 5), (n > SIZES["760M"]) & (times == 10)
    return [Fold("up to 760M and 5 times, predict both", *map(np.flatnonzero, (train, test)))]


SPLITS: tuple[Callable[[xr.Dataset], list[Fold]], ...] = (
    partial(by_size, up_to="190M", predict="370M"),
    partial(by_size, up_to="370M", predict="760M"),
    partial(by_size, up_to="760M", predict="1.3B"),
    partial(by_length, up_to=2, predict=5),
    partial(by_length, up_to=5, predict=10),
    by_both,
)


def row(runs: xr.Dataset, split: Callable, method: str, variant: str, fit: dict) -> dict:
    """One form on one split."""
    found = {"split": split(runs)[0].name, "method": method, "variant": variant}
    options = fit if method == "bayes" else {}
    begin = time.perf_counter()
    try:
        result = bcl.backtest(
            {"ladder": bcl.rivals.TaskLadder(method, variant)},
            runs,
            split,
            fit_options=options,
            random_seed=1,
            progressbar=False,
        )
    except ObservationError as error:
        return found | {"refused": str(error).splitlines()[0][:90]}
    scores = result.scores.loc["ladder"].iloc[-1]
    return found | {
        "points": int(scores["points"]),
        "coverage": scores["coverage"],
        "width": 100 * scores["width"],
        "error": 100 * scores["mae"],
        "failed checks": result.fits["failed_checks"].fillna("").iloc[0],
        "seconds": time.perf_counter() - begin,
    }


def on_targets(obs: xr.Dataset, runs: xr.Dataset, variant: str) -> dict:
    """A Bayesian form, fitted to all runs, on the two models far beyond them."""
    targets = obs.isel(obs_id=obs["role"].values == "target")
    law = bcl.rivals.TaskLadder(variant=variant).fit(runs, random_seed=1, progressbar=False)
    found: dict = {"variant": variant}
    for ci_prob in (0.95, 0.9):
        at = law.predict(targets, ci_prob=ci_prob)
        inside = (at["lower"] <= at["score"]) & (at["score"] <= at["upper"])
        found[f"inside {ci_prob:.0%}"] = f"{int(inside.sum())} of {inside.size}"
        found[f"width {ci_prob:.0%}"] = 100 * float((at["upper"] - at["lower"]).mean())
    found["error"] = 100 * float(abs(at["median"] - at["score"]).mean())
    checks = convergence(law.idata)
    return found | {"failed checks": ", ".join(checks.index[~checks["passed"].astype(bool)])}


def main() -> None:
    """Run all forms on all splits, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="variants")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--tune", type=int, default=1000)
    parser.add_argument("--targets", action="store_true")
    options = parser.parse_args()
    obs = bcl.load_dataset("ladder")
    runs = obs.isel(obs_id=obs["role"].values == "train")
    if options.targets:
        forms = [v for m, v in FORMS if m == "bayes" and v in (options.only or (v,))]
        table = pd.DataFrame([on_targets(obs, runs, variant) for variant in forms])
        print(table.round(2).to_string(index=False))
        return
    fit = {"draws": options.draws, "tune": options.tune}
    rows = []
    for method, variant in FORMS:
        if options.only and variant not in options.only:
            continue
        for split in SPLITS:
            rows.append(row(runs, split, method, variant, fit))
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    least = table[table["method"] == "least_squares"].set_index(["split", "variant"])
    if "width" in least:
        # The direct forms have no bootstrap: they are held against the form of two steps.
        form = table["variant"].replace({"direct": "task_loss", "direct_compute": "compute"})
        at = pd.MultiIndex.from_arrays([table["split"], form])
        table["of the bootstrap's"] = table["width"] / least["width"].reindex(at).to_numpy()
    print(table.round(3).to_string(index=False))
    if options.out:
        table.to_csv(options.out, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
