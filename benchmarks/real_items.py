"""Clustering on difficulty on real items that hardly anybody solves: Pythia on GSM8K and MATH.

    python benchmarks/real_items.py ../shared/data/pythia_passrates.csv.gz

Pass counts of 128 problems: seven sizes on MATH (arXiv:2407.21787), and nine or ten on both
benchmarks at each of five lengths of training. The file states no licence, so it is not part of the
package. Of every series the largest model is forecast from all smaller ones, then the next smaller,
and the one below, as long as five are smaller. The end-to-end curve is the law of a cluster fitted
to the score on all items. Interval: equal-tailed, 90 %, of the response.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw.errors import ObservationError
from bayes_ctxlaw.rivals.difficulty import DifficultyClusters, as_items
from bayes_ctxlaw.rivals.difficulty.curves import fit_curve

NAMES = {"benchmark": "task", "model": "llm", "flops_6nd": "compute", "problem": "item"}
LENGTHS = ("6B", "20B", "60B", "200B", "300B")
TARGETS = 3


def series(path: str) -> Iterator[tuple[str, xr.Dataset]]:
    """Every series of sizes, in order of compute; problems that all of its models met."""
    rows = pd.read_csv(path).rename(columns=NAMES)
    first = rows["source"] == "brown2024_original"
    yield "MATH, arXiv:2407.21787", _laid_out(rows[first])
    length = rows["llm"].str.split("_").str[-1]
    for task in ("GSM8K", "MATH"):
        for tokens in LENGTHS:
            own = rows[~first & (rows["task"] == task) & (length == tokens)]
            yield f"{task}, {tokens} tokens", _laid_out(own)


def _laid_out(rows: pd.DataFrame) -> xr.Dataset:
    met = rows.groupby("item")["llm"].nunique()
    items = as_items(rows[rows["item"].isin(met.index[met == rows["llm"].nunique()])])
    return items.sortby("compute")


def forecast(items: xr.Dataset, place: int) -> dict[str, float | str]:
    """One model from all smaller ones."""
    score = (items["n_correct"] / items["n_samples"]).mean("item").values
    compute = items["compute"].values
    curve = float(fit_curve(compute[:place], score[:place])(compute[place]))
    row: dict[str, float | str] = {
        "target": str(items["llm"].values[place]),
        "observed": score[place],
        "end to end": curve,
        "last": score[place - 1],
    }
    try:
        law = DifficultyClusters().fit(items.isel(llm=slice(place)), random_seed=1)
    except ObservationError:
        return row | {"refused": "yes"}
    at = [{"task": items["task"].values[0], "llm": "target", "compute": float(compute[place])}]
    found = law.predict(at).isel(obs_id=0)
    ends = {name: float(found[name]) for name in ("median", "lower", "upper")}
    return row | ends | {"inside": float(ends["lower"] <= score[place] <= ends["upper"])}


def main(path: str) -> None:
    rows = [
        {"series": name} | forecast(items, place)
        for name, items in series(path)
        for place in range(items.sizes["llm"] - 1, items.sizes["llm"] - 1 - TARGETS, -1)
        if place >= 5
    ]
    table = pd.DataFrame(rows)
    print(table.round(5).to_string(index=False))
    table = table[table["median"].notna()]
    print(f"\n{len(rows)} targets, {len(rows) - len(table)} refused; of the others:")
    names = {"Bayesian": "median", "end to end": "end to end", "last score": "last"}
    for name, column in names.items():
        off = (table[column] - table["observed"]).abs()
        ratio = np.exp(np.log(table[column].clip(lower=1e-6) / table["observed"]).abs().median())
        print(f"{name}: mean abs. error {off.mean():.4f}, typical factor {ratio:.2f}")
    near = (table["median"] - table["observed"]).abs() < (
        table["end to end"] - table["observed"]
    ).abs()
    print(
        f"nearer than end to end: {near.sum()}; inside 90 %: {table['inside'].sum():.0f}; "
        f"upper over lower end, median: {(table['upper'] / table['lower']).median():.0f}"
    )


if __name__ == "__main__":
    main(sys.argv[1])
