"""How long, and in how much memory: a million items aggregated, a large grid predicted?

    python benchmarks/throughput.py

writes 1,000,000 simulated items to Parquet and to CSV and collapses each to its design cells with
``aggregate_items``; the rival reads the file whole with pandas and groups it. Then it predicts
100,000 rows from 4,000 draws. Every step runs in a process of its own, whose peak memory is
printed (Linux only); an interpreter that has only imported what a step needs is the first line.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

ITEMS, GRID = 1_000_000, 100_000

AGGREGATE = """
import bayes_ctxlaw as bcl
cells = bcl.aggregate_items({path!r})
print(cells.sizes["obs_id"], "cells")
"""
PANDAS = """
import pandas as pd
items = pd.read_{kind}({path!r})
keys = [name for name in items if name not in ("score", "prompt_tokens")]
cells = items.groupby(keys, sort=False).agg(
    score=("score", "mean"), n=("score", "size"), tokens=("prompt_tokens", "mean"),
    sd=("prompt_tokens", "std"),
)
print(len(cells), "cells")
"""
PREDICT = """
import numpy as np
import bayes_ctxlaw as bcl
law = bcl.ContextLaw.load({path!r})
labels = {{name: law.obs[name].values[0] for name in ("task", "llm", "family", "technique")}}
at = bcl.grid(**labels, compute=7.8e22, context_window=131072, n_items=1000,
              prompt_tokens=np.geomspace(50, 131072, {rows}))
prediction = law.predict(at)
print(prediction.sizes["obs_id"], "rows")
"""
MEASURED = """
import time
begin = time.perf_counter()
{code}
seconds = time.perf_counter() - begin
# Not getrusage: its peak begins with that of the process that started this one.
status = open("/proc/self/status").read()
peak = int(status.split("VmHWM:")[1].split()[0])
print(f"{{seconds:.2f}} s, peak {{peak / 2**20:.2f}} GiB")
"""


def run(title: str, code: str) -> None:
    """Run code in a process of its own and print what it says."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(code=code)],
        capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    print(f"{title:<42} {', '.join(done.stdout.split(chr(10))[:-1])}", flush=True)


def items() -> pd.DataFrame:
    """Simulated answers: 40 checkpoints, 3 tasks, 8 shot counts; prompts of all lengths."""
    rng = np.random.default_rng(1)
    llm = rng.integers(40, size=ITEMS)
    shots = rng.integers(8, size=ITEMS)
    return pd.DataFrame(
        {
            "task": np.array(["arithmetic", "common sense", "translation"])[
                rng.integers(3, size=ITEMS)
            ],
            "llm": np.array([f"llm {i}" for i in range(40)])[llm],
            "compute": 1e22 * 1.2 ** llm.astype(float),
            "context_window": 8192.0 * 2.0 ** (llm % 3),
            "shots": shots,
            "prompt_tokens": np.rint(100.0 * 2.0**shots * rng.lognormal(0.0, 0.1, ITEMS)),
            "score": rng.integers(2, size=ITEMS).astype(float),
        }
    )


def main() -> None:
    """Run all steps."""
    import bayes_ctxlaw as bcl

    with tempfile.TemporaryDirectory() as folder:
        parquet, csv, fit = (
            str(Path(folder) / name) for name in ("items.parquet", "items.csv", "fit.nc")
        )
        table = items()
        table.to_parquet(parquet)
        table.to_csv(csv, index=False)
        law = bcl.ContextLaw()
        law.fit(bcl.load_dataset("montgomery2025"), random_seed=1, progressbar=False)
        law.save(fit)
        run("imports alone", "import bayes_ctxlaw, pyarrow.parquet\nbayes_ctxlaw.ContextLaw")
        for kind, path in (("parquet", parquet), ("csv", csv)):
            run(f"aggregate {ITEMS} items of {kind}", AGGREGATE.format(path=path))
            run(f"  pandas, whole file, {kind}", PANDAS.format(path=path, kind=kind))
        for rows in (GRID // 10, GRID):
            run(f"predict {rows} rows, 4,000 draws", PREDICT.format(path=fit, rows=rows))


if __name__ == "__main__":
    main()
