"""``bayes-ctxlaw report``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bayes_ctxlaw.cli._common import (
    Force,
    Mapping,
    check_output,
    column_names,
    report_file,
    reports_errors,
    say,
)
from bayes_ctxlaw.cli.predict import NewLevels


@reports_errors
def report(
    fit: Annotated[Path, typer.Argument(metavar="FIT.nc", help="A fit that was saved.")],
    out: Annotated[Path, typer.Option(metavar="REPORT.html", help="The page to write.")],
    held_out: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="Scores that the fit did not see, to judge its predictions by: CSV or Parquet.",
        ),
    ] = None,
    map_: Mapping = None,
    ci_prob: Annotated[float, typer.Option(help="Probability of the intervals.")] = 0.9,
    new_levels: Annotated[
        NewLevels,
        typer.Option(help="Labels of --held-out the fit never saw: refuse, or be uncertain."),
    ] = NewLevels.error,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    force: Force = False,
) -> None:
    """Write one HTML page about a fit: data, review, curves, forecasts, contrasts.

    Example: `bayes-ctxlaw report fit.nc --out report.html`
    """
    names = column_names(map_)
    if names and held_out is None:
        raise typer.BadParameter("goes with a table (--held-out)", param_hint="--map")
    check_output(out, force)
    # Pictures go to the page: no window system is needed, whatever the user's setting is.
    os.environ["MPLBACKEND"] = "Agg"
    from bayes_ctxlaw.context_law import ContextLaw
    from bayes_ctxlaw.observations import as_observations
    from bayes_ctxlaw.report import write_report

    unseen = None if held_out is None else as_observations(held_out, **names)
    law = ContextLaw.load(fit)
    say("Reviewing the fit, predicting and drawing")
    options = {} if title is None else {"title": title}
    if unseen is not None:
        options["held_out"] = law.predict(
            unseen, kind="response", ci_prob=ci_prob, new_levels=new_levels.value
        )
    write_report(out, law, ci_prob=ci_prob, **options)
    report_file(out, "the report; open it in a browser")
