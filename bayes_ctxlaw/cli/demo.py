"""``bayes-ctxlaw demo``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bayes_ctxlaw.cli._common import ERR, Chains, Draws, Tune, report_file, reports_errors, say


@reports_errors
def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for the files; those of an earlier run are replaced.")
    ] = Path("bayes-ctxlaw-demo"),
    draws: Draws = 1000,
    tune: Tune = 1000,
    chains: Chains = 4,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")] = 1,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="A first look with few draws (2 chains of 200), instead of the three options.",
        ),
    ] = False,
) -> None:
    """Fit the bundled scores up to 10k tokens, predict those beyond, draw and report.

    Example: `bayes-ctxlaw demo --out first-look`
    """
    from bayes_ctxlaw import demo as job

    # Pictures go to files: no window system is needed, whatever the user's setting is.
    os.environ["MPLBACKEND"] = "Agg"
    size = job.QUICK if quick else {"draws": draws, "tune": tune, "chains": chains}
    paths = job.run_demo(out, **size, random_seed=seed, progressbar=ERR.is_terminal, on_step=say)
    for name, (_, meaning) in job.FILES.items():
        report_file(paths[name], meaning)
