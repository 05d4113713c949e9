"""Do the intervals hold? Every extrapolation of real data, by our default law and by its rivals.

    python benchmarks/intervals.py --out notebooks/intervals.csv
    python benchmarks/intervals.py --further --forecasters ours "least squares" "no pooling" \\
        --out notebooks/further_intervals.csv
    python benchmarks/intervals.py --forecasters "ours, tasks stray" \\
        --only montgomery "helmet_icl, beyond" "helmet_icl, compute" "ruler, beyond 32k" \\
        --out notebooks/straying_intervals.csv  # once more with --further
    python benchmarks/intervals.py --forecasters "ours, no task strays" --only many_shot \\
        --out notebooks/straying_intervals.csv  # once more with --further

fits each forecaster below an edge, predicts beyond it, and writes the mean scores of what was held
out: 90 % equal-tailed response intervals. The data are the bundled tables. One set of defaults for
all rows; fewer draws than the defaults, for there are dozens of fits. The defaults were chosen on
the first table; the further one has other edges of the same data, with two prompt lengths at least
below, on which nothing was chosen. The third is of the law that is not the default for these
data, with or without a discrepancy. A rival that
refuses the data of a row (least squares of compute alone, where there is one compute) is left out
of it, and said.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import bayes_ctxlaw as bcl
from bayes_ctxlaw.errors import ObservationError

EITHER_WAY = {"ours, tasks stray": "prompt_tokens", "ours, no task strays": "none"}
"""What the default leaves to the scores: only where it is asked for."""

FORECASTERS = {
    "ours": bcl.ContextLaw,
    **{
        name: lambda discrepancy=discrepancy: bcl.ContextLaw(discrepancy=discrepancy)
        for name, discrepancy in EITHER_WAY.items()
    },
    "least squares": bcl.rivals.LeastSquaresLaw,
    "least squares, no penalty": lambda: bcl.rivals.LeastSquaresLaw(penalty=False),
    "least squares, centred": lambda: bcl.rivals.LeastSquaresLaw(centred=True),
    "compute only": bcl.rivals.ComputeOnlyLaw,
    "no pooling": bcl.rivals.NoPoolingLaw,
    "complete pooling": bcl.rivals.CompletePoolingLaw,
}

SAMPLED = ("ours", *EITHER_WAY, "no pooling", "complete pooling")


def by_size(obs: xr.Dataset) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Leave out the 13B checkpoints, then the 7B ones."""
    large = np.char.find(obs["llm"].values.astype(str), "13B") >= 0
    return [
        (f"without {name}", np.flatnonzero(~out), np.flatnonzero(out))
        for name, out in (("13B", large), ("7B", ~large))
    ]


ROWS = {
    "montgomery2025, beyond 10k tokens": (
        "montgomery2025",
        bcl.splits.beyond_context(10_000, in_window=True),
    ),
    "montgomery2025, leave out 13B, then 7B": ("montgomery2025", by_size),
    "many_shot_icl, beyond 10k tokens": ("many_shot_icl", bcl.splits.beyond_context(10_000)),
    "helmet_icl, beyond 32k tokens": ("helmet_icl", bcl.splits.beyond_context(32_768)),
    "helmet_icl, beyond 64k tokens": ("helmet_icl", bcl.splits.beyond_context(65_536)),
    "helmet_icl, compute above 5e23": ("helmet_icl", bcl.splits.beyond_compute(5e23)),
    "helmet_icl, leave out each family": ("helmet_icl", bcl.splits.leave_out("family")),
    "helmet_retrieval, beyond 32k tokens": (
        "helmet_retrieval",
        bcl.splits.beyond_context(32_768),
    ),
    "helmet_retrieval, compute above 5e23": ("helmet_retrieval", bcl.splits.beyond_compute(5e23)),
    "lceg_ruler, beyond 16k tokens": ("lceg_ruler", bcl.splits.beyond_context(16_384)),
    "ruler, beyond 32k tokens": ("ruler", bcl.splits.beyond_context(32_768)),
}

FURTHER_ROWS = {
    "montgomery2025, beyond 1k tokens": (
        "montgomery2025",
        bcl.splits.beyond_context(1_000, in_window=True),
    ),
    "many_shot_icl, beyond 2k tokens": ("many_shot_icl", bcl.splits.beyond_context(2_048)),
    "many_shot_icl, beyond 4k tokens": ("many_shot_icl", bcl.splits.beyond_context(4_096)),
    "many_shot_icl, leave out each checkpoint": ("many_shot_icl", bcl.splits.leave_out("llm")),
    "helmet_icl, beyond 16k tokens": ("helmet_icl", bcl.splits.beyond_context(16_384)),
    "helmet_icl, compute above 1e23": ("helmet_icl", bcl.splits.beyond_compute(1e23)),
    "helmet_retrieval, beyond 16k tokens": (
        "helmet_retrieval",
        bcl.splits.beyond_context(16_384),
    ),
    "helmet_retrieval, beyond 64k tokens": (
        "helmet_retrieval",
        bcl.splits.beyond_context(65_536),
    ),
    "helmet_retrieval, compute above 1e23": ("helmet_retrieval", bcl.splits.beyond_compute(1e23)),
    "lceg_ruler, beyond 8k tokens": ("lceg_ruler", bcl.splits.beyond_context(8_192)),
    "lceg_ruler, beyond 32k tokens": ("lceg_ruler", bcl.splits.beyond_context(32_768)),
    "ruler, beyond 8k tokens": ("ruler", bcl.splits.beyond_context(8_192)),
    "ruler, beyond 16k tokens": ("ruler", bcl.splits.beyond_context(16_384)),
    "ruler, beyond 64k tokens": ("ruler", bcl.splits.beyond_context(65_536)),
    "ruler, compute above 3e23": ("ruler", bcl.splits.beyond_compute(3e23)),
    "ruler, compute above 1e24": ("ruler", bcl.splits.beyond_compute(1e24)),
    "ruler, leave out each family": ("ruler", bcl.splits.leave_out("family")),
}


def main() -> None:
    """Run the rows asked for, and add them to the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--further", action="store_true", help="the further rows")
    parser.add_argument("--only", nargs="*", default=[], help="parts of names of rows")
    names = [name for name in FORECASTERS if name not in EITHER_WAY]
    parser.add_argument("--forecasters", nargs="*", default=names, help="names, such as ours")
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--tune", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    fit = {"draws": options.draws, "tune": options.tune}
    rows = FURTHER_ROWS if options.further else ROWS
    for row, (dataset, split) in rows.items():
        if options.only and not any(part in row for part in options.only):
            continue
        obs = bcl.load_dataset(dataset)
        for name, make in FORECASTERS.items():
            if name not in options.forecasters:
                continue
            begin = time.perf_counter()
            try:
                result = bcl.backtest(
                    {name: make()}, obs, split, fit_options=fit if name in SAMPLED
                    else None, random_seed=options.seed, progressbar=False,
                )  # fmt: skip
            except ObservationError as error:
                print(f"{row} | {name}: {error}", flush=True)
                continue
            found = result.scores.loc[name].iloc[-1]
            failed = result.fits["failed_checks"].fillna("").astype(bool)
            line = {
                "row": row, "forecaster": name, "points": int(found["points"]),
                "coverage": found["coverage"], "width": found["width"], "mae": found["mae"],
                "crps": found["crps"], "fits": len(failed), "fits not converged": int(failed.sum()),
                "draws": options.draws, "tune": options.tune, "seed": options.seed,
                "seconds": round(time.perf_counter() - begin),
            }  # fmt: skip
            table = pd.read_csv(options.out) if options.out.exists() else pd.DataFrame()
            if len(table):
                table = table[(table["row"] != row) | (table["forecaster"] != name)]
            table = pd.concat([table, pd.DataFrame([line])], ignore_index=True)
            # In the order of this script, whatever was run when.
            for column, order in (("forecaster", FORECASTERS), ("row", ROWS | FURTHER_ROWS)):
                table = table.sort_values(
                    column, key=lambda v, o=list(order): v.map(o.index), kind="stable"
                )
            table.to_csv(options.out, index=False, float_format="%.4g")
            print(
                f"{row} | {name}: {found['coverage']:.3f} of {int(found['points'])} covered, width "
                f"{found['width']:.3f}, CRPS {found['crps']:.4f} ({line['seconds']} s)",
                flush=True,
            )


if __name__ == "__main__":
    main()
