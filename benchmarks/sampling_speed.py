"""What does a posterior cost with ContextLaw, and what with its rivals?

    python benchmarks/sampling_speed.py --dataset montgomery2025 --rivals textbook,numpyro

samples the default law of one bundled data set with ContextLaw, with the textbook's PyMC model and
with a NumPyro model written by hand, one after the other in this process. It prints leapfrog steps
and CPU seconds, what they bought (effective sample size of the worst shared parameter), and how
far the posteriors are apart in Monte Carlo standard errors: with all well, few parameters in a
hundred are more than 3 apart. ``--dilution`` takes another form of the law than the default.

A leapfrog step is one gradient. "Per draw" counts every step taken for a kept draw, also those of
draws that were thinned out. "Sampling" leaves out building and compiling; it includes tuning.
With HELMET-ICL the textbook takes many minutes.
"""

from __future__ import annotations

import argparse
import importlib
from typing import Any

import arviz as az
import numpy as np

# Imported before any clock runs, so that nobody pays for what the first one would have brought.
import nutpie  # noqa: F401
import pymc  # noqa: F401
import xarray as xr
from _common import DATASETS, Clock, Data, clocked, outcome
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import bayes_ctxlaw as bcl
from bayes_ctxlaw import sampling
from bayes_ctxlaw.law import DILUTIONS, LawTerms

RIVALS = {"textbook": "textbook_pymc", "numpyro": "numpyro_by_hand"}


def run_ours(
    obs: xr.Dataset, dilution: str, draws: int, tune: int, chains: int, seed: int
) -> dict[str, Any]:
    """ContextLaw as anybody would call it; a new one, so that nothing is compiled yet."""
    law, clock = bcl.ContextLaw(dilution=dilution), Clock()
    # A fit does not wait inside nutpie.sample, so the function around it is timed, without what it
    # does to make the model ready. Short runs that look for a layout count as tuning.
    with clocked(sampling, "sample") as sampled, clocked(sampling, "sampler_model") as readied:
        idata = law.fit(
            obs, draws=draws, tune=tune, chains=chains, random_seed=seed, progressbar=False
        )
    spent = clock.read()
    stats = idata["sample_stats"]
    names = list(Data.of_law(obs, law).shared_names())
    return outcome(
        idata["posterior"].to_dataset()[names],
        stats["n_steps"].values,
        stats["diverging"].values.sum(),
        spent,
        {kind: sampled[kind] - readied[kind] for kind in ("wall", "cpu")},
    )


def flat(measure: xr.Dataset) -> dict[str, float]:
    """One number for each scalar parameter and each label of the others."""
    out = {}
    for name, values in measure.data_vars.items():
        if values.ndim == 0:
            out[str(name)] = float(values)
        else:
            for label, value in zip(values[values.dims[0]].values, values.values, strict=True):
                out[f"{name}[{label}]"] = float(value)
    return out


def measures(result: dict[str, Any]) -> dict[str, Any]:
    """What the time bought."""
    ess = flat(az.ess(result["posterior"], method="bulk"))
    worst = min(ess, key=ess.__getitem__)
    return {
        "steps per draw": result["steps_per_draw"],
        "CPU s": result["cpu"]["total"],
        "CPU s, sampling": result["cpu"]["sampling"],
        "wall s": result["wall"]["total"],
        "smallest ESS": ess[worst],
        "steps per ESS": result["n_steps"].sum() / ess[worst],
        "ESS per CPU s": ess[worst] / result["cpu"]["total"],
        "ESS per CPU s, sampling": ess[worst] / result["cpu"]["sampling"],
        "divergences": result["divergences"],
        "largest R-hat": max(flat(az.rhat(result["posterior"])).values()),
        "worst parameter": worst,
    }


def shown(value: Any) -> str:
    """A number with as many digits as are worth reading."""
    if isinstance(value, str):
        return escape(value)
    if np.isnan(value):
        return "–"
    if isinstance(value, int):
        return str(value)
    if 0.95 < value < 1.1:  # R-hat, where the third decimal counts
        return f"{value:.3f}"
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def apart(one: xr.Dataset, other: xr.Dataset) -> dict[str, float]:
    """Distances of means and of 5 % and 95 % points, in their joint Monte Carlo errors."""
    sample = ("chain", "draw")
    summaries = {
        "mean": (lambda ds: ds.mean(sample), {"method": "mean"}),
        "5 %": (lambda ds: ds.quantile(0.05, sample), {"method": "quantile", "prob": 0.05}),
        "95 %": (lambda ds: ds.quantile(0.95, sample), {"method": "quantile", "prob": 0.95}),
    }
    out = {}
    for what, (summary, options) in summaries.items():
        values = [flat(summary(ds)) for ds in (one, other)]
        errors = [flat(az.mcse(ds, **options)) for ds in (one, other)]
        for name in values[0]:
            error = np.hypot(errors[0][name], errors[1][name])
            out[f"{what} of {name}"] = (values[0][name] - values[1][name]) / error
    return out


def main() -> None:
    """Run everything and print three tables: costs, ratios, agreement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=DATASETS, default="montgomery2025")
    parser.add_argument("--rivals", default=",".join(RIVALS), help="separated by commas; may be ''")
    parser.add_argument("--dilution", choices=DILUTIONS, default=LawTerms().dilution)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--tune", type=int, default=1000)
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=1, help="runs of each, with other seeds")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rivals = [name for name in options.rivals.split(",") if name]
    if unknown := set(rivals) - set(RIVALS):
        parser.error(f"--rivals: {', '.join(sorted(unknown))} is none of {', '.join(RIVALS)}")

    console, obs = Console(width=130), bcl.load_dataset(options.dataset)
    size = options.draws, options.tune, options.chains
    law = bcl.ContextLaw(dilution=options.dilution)
    law.build_model(obs)
    results: dict[str, list[dict[str, Any]]] = {}
    for seed in range(options.seed, options.seed + options.repeat):
        console.log(f"ContextLaw, seed {seed}")
        results.setdefault("ours", []).append(run_ours(obs, options.dilution, *size, seed))
        for name in rivals:
            rival = importlib.import_module(RIVALS[name])
            console.log(f"{name}, seed {seed}")
            results.setdefault(name, []).append(rival.run(obs, law, *size, seed))

    what = f"{options.dataset}, dilution={options.dilution!r}"
    title = f"{what}: {size[2]} chains of {size[1]} + {size[0]} draws"
    found = {name: [measures(result) for result in runs] for name, runs in results.items()}
    table = Table("", *[name for name, runs in found.items() for _ in runs], title=title)
    for row in found["ours"][0]:
        table.add_row(row, *[shown(one[row]) for runs in found.values() for one in runs])
    console.print(table)
    for name, runs in results.items():
        if runs[0]["note"]:
            console.print(f"{name}: {runs[0]['note']}")

    rows = [row for row in found["ours"][0] if row not in ("divergences", "worst parameter")]
    rows.remove("largest R-hat")
    table = Table("ours ÷ rival (medians)", *rivals)
    for row in rows:
        ratios = [np.median([one[row] for one in found[name]]) for name in rivals]
        mine = np.median([one[row] for one in found["ours"]])
        table.add_row(row, *[shown(float(mine / ratio)) for ratio in ratios])
    console.print(table)

    for name in rivals:
        distances = apart(results["ours"][0]["posterior"], results[name][0]["posterior"])
        far = sorted(distances, key=lambda key: -abs(distances[key]))
        beyond = sum(abs(value) > 3.0 for value in distances.values())
        table = Table("largest differences", "in Monte Carlo standard errors")
        for key in far[:5]:
            table.add_row(escape(key), f"{distances[key]:+.1f}")
        console.print(
            f"ours against {name}: {beyond} of {len(distances)} means and quantiles are more than "
            "3 standard errors apart"
        )
        console.print(table)


if __name__ == "__main__":
    main()
