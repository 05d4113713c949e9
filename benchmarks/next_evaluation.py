"""Does `next_evaluation` rank candidates as fits with their scores would?

    python benchmarks/next_evaluation.py                    # 4 sets × 16 candidates × 4 fits
    python benchmarks/next_evaluation.py --sets 1 --repeats 12 --seed 2

fits scores simulated from a known law, ranks candidate evaluations by their expected reduction of
the variance at a place of interest, and then does what the ranking spares: for every candidate it
simulates scores from draws of that posterior, fits all scores again with each of them, and averages
the variance that is left. Prints both, and Spearman's rank correlation between them, for every set
of simulated scores.

A few fits for a candidate leave the variance that is left rough: two halves of them rank the
candidates by themselves, and the correlation between the halves says how well the refits agree with
each other. No ranking can agree much better with them than that, corrected for the number of fits.
"""

from __future__ import annotations

import argparse
import time
from itertools import combinations

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import spearmanr

import bayes_ctxlaw as bcl
from bayes_ctxlaw.law import mean_score
from bayes_ctxlaw.planning import next_evaluation

LLMS = {"S-8k": (1e22, 8192), "M-16k": (6e22, 16384), "L-32k": (3e23, 32768)}
SETTINGS = {"draws": 250, "tune": 500, "chains": 4, "thin": 2, "progressbar": False}
ITEMS = 200


def rows(tasks: list[str], llms: list[str], lengths: list[float], **columns: object) -> list[dict]:
    """Every task, llm and prompt length inside the window, as rows of a design."""
    return [
        {
            "task": task,
            "llm": llm,
            "compute": LLMS[llm][0],
            "context_window": LLMS[llm][1],
            "prompt_tokens": length,
            "n_items": ITEMS,
            **columns,
        }
        for task in tasks
        for llm in llms
        for length in lengths
        if length <= LLMS[llm][1]
    ]


def simulated(seed: int) -> xr.Dataset:
    """Scores simulated from a law with known parameters.

    Of one checkpoint there are short prompts only, so that much is uncertain of it at long ones.
    """
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        rows(["qa", "maths"], ["S-8k", "M-16k"], [100, 500, 2500, 7500, 9500, 15_000])
        + rows(["qa", "maths"], ["L-32k"], [100, 500])
    )
    of_task = {"qa": (0.2, 0.35), "maths": (-0.8, 0.55)}
    of_llm = dict(zip(LLMS, rng.normal(0, 0.15, len(LLMS)), strict=True))
    task = np.array([of_task[name] for name in table["task"]])
    mean = mean_score(
        {
            "log_A": task[:, 0] + table["llm"].map(of_llm).to_numpy(),
            "alpha": 0.25,
            "log_B": 0.3,
            "beta": task[:, 1],
            "logit_rho": -2.0,
            "kappa": 12.0,
            "delta": 0.1,
        },
        {
            "x": np.log(table["compute"].to_numpy() / 6e22),
            "z": np.log(table["prompt_tokens"].to_numpy() / 500),
            "w": np.log(table["prompt_tokens"].to_numpy() / table["context_window"].to_numpy()),
            "chance": 0.0,
        },
    )
    return bcl.as_observations(table.assign(score=rng.binomial(ITEMS, mean) / ITEMS))


def candidates() -> pd.DataFrame:
    """Single evaluations near the place of interest and far from it, small and large, and one of a
    checkpoint as a whole."""
    few, many = {"n_items": 50}, {"n_items": 1000}
    table = (
        rows(["maths"], ["L-32k"], [500, 2500, 10_000, 30_000])
        + [row | few for row in rows(["maths"], ["L-32k"], [2500, 20_000])]
        + [row | many for row in rows(["maths"], ["L-32k"], [2500, 20_000])]
        + rows(["maths"], ["M-16k", "S-8k"], [500, 8000])
        + [row | many for row in rows(["qa"], ["L-32k"], [100, 2500, 20_000])]
    )
    for number, row in enumerate(table):
        row["candidate"] = (
            f"{number}: {row['task']}, {row['llm']}, {row['prompt_tokens']}, {row['n_items']} items"
        )
    whole = rows(["qa", "maths"], ["L-32k"], [2500, 20_000], candidate="L-32k as a whole")
    return pd.DataFrame(table + whole)


def fitted(obs: object, seed: int, **settings: int) -> tuple[bcl.ContextLaw, int]:
    """A fit, and how often it had to be made again because a chain was stuck."""
    for again in range(5):
        law = bcl.ContextLaw(groups=("task", "llm"))
        law.fit(obs, random_seed=seed + 1000 * again, **SETTINGS | settings)
        stuck = law.idata["sample_stats"]["diverging"].mean("draw") > 0.5
        if not stuck.any():
            return law, again
    raise SystemExit("five fits in a row had a chain that was stuck")


def refitted(
    law: bcl.ContextLaw, options: pd.DataFrame, at: dict[str, object], repeats: int, seed: int
) -> tuple[dict[str, list[float]], int]:
    """Of every candidate, the variances left at a place after fits with simulated scores of it.

    And how many fits had to be made again.
    """
    # An evaluation may come out as one that is there: a number tells them apart.
    fitted_with = law.obs.to_dataframe().assign(seed=0)
    left: dict[str, list[float]] = {}
    made_again = 0
    # The same draws of the posterior are the truth for all candidates.
    size = law.idata["posterior"].sizes
    picks = np.random.default_rng(seed).integers(size["chain"] * size["draw"], size=repeats)
    for name, own in options.groupby("candidate", sort=False):
        drawn = law.predict(own, samples=True)["samples"].stack(sample=("chain", "draw"))
        for repeat, pick in enumerate(picks):
            new = own.assign(score=drawn.isel(sample=pick).values, chance=0.0, seed=1)
            both = pd.concat([fitted_with, new], ignore_index=True)[list(fitted_with)]
            refit, more = fitted(both, seed + repeat)
            made_again += more
            spread = refit.predict([at], kind="llm")["sd"].item()
            left.setdefault(str(name), []).append(spread**2)
    return left, made_again


def compare(repeats: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Expected and refitted variances of every candidate, and the variance that each fit left."""
    law, _ = fitted(simulated(seed), seed, draws=1000)
    at = rows(["maths"], ["L-32k"], [20_000])[0]
    options = candidates()
    started = time.perf_counter()
    plan = next_evaluation(law, options, at=[at])
    planned = time.perf_counter() - started
    expected = plan["sd_after"].isel(obs_id=0) ** 2
    started = time.perf_counter()
    left, made_again = refitted(law, options, at, repeats, seed)
    spent = time.perf_counter() - started
    print(f"simulated data, {law.obs.sizes['obs_id']} scores; place of interest: {at}")
    print(f"variance now: {plan['sd_now'].item() ** 2:.3g}")
    print(f"ranking: {planned:.2f} s; {repeats * len(left)} fits: {spent:.0f} s")
    print(f"fits made again because a chain was stuck: {made_again}")
    every = pd.DataFrame(left).T
    table = pd.DataFrame(
        {
            "expected": expected.to_series(),
            "refitted": every.mean(axis=1),
            "refitted_se": every.std(axis=1, ddof=1) / np.sqrt(repeats),
        }
    ).sort_values("expected")
    return table, every


def halves_agree(every: pd.DataFrame) -> float:
    """How well means of all refits would rank as those of as many others: Spearman-Brown.

    From the mean rank correlation between all ways to halve the fits of every candidate.
    """
    number = every.shape[1]
    found = [
        spearmanr(
            every[list(half)].mean(axis=1), every.drop(columns=list(half)).mean(axis=1)
        ).statistic
        for half in combinations(every, number // 2)
    ]
    half = float(np.mean(found))
    return 2 * half / (1 + half)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=4, help="fits for a candidate, 2 or more")
    parser.add_argument("--sets", type=int, default=4, help="sets of simulated scores")
    parser.add_argument("--seed", type=int, default=1, help="of the first set; then one more each")
    options = parser.parse_args()
    found = []
    for seed in range(options.seed, options.seed + options.sets):
        print(f"set {seed}", flush=True)
        table, every = compare(options.repeats, seed)
        correlation = float(spearmanr(table["expected"], table["refitted"]).statistic)
        found.append(correlation)
        print(table.to_string(float_format="{:.3g}".format))
        print(f"Spearman's rank correlation over {len(table)} candidates: {correlation:.3f}")
        print(f"of the refits with as many others: {halves_agree(every):.3f}\n", flush=True)
    each = ", ".join(f"{value:.3f}" for value in found)
    print(f"Spearman's rank correlation: {each}; mean {np.mean(found):.3f}")


if __name__ == "__main__":
    main()
