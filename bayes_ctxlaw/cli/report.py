"""``bayes-ctxlaw report``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

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
from bayes_ctxlaw.errors import ObservationError


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
    from bayes_ctxlaw.predict import check_options
    from bayes_ctxlaw.report import write_report

    check_options("response", ci_prob, new_levels.value)
    unseen = None if held_out is None else _held_out(held_out, names)
    law = ContextLaw.load(fit)
    say("Reviewing the fit, predicting and drawing")
    options = {} if title is None else {"title": title}
    if unseen is not None:
        options["held_out"] = law.predict(
            unseen, kind="response", ci_prob=ci_prob, new_levels=new_levels.value
        )
    write_report(out, law, ci_prob=ci_prob, **options)
    report_file(out, "the report; open it in a browser")


def _held_out(path: Path, names: dict[str, str]) -> Any:
    """Scores to judge predictions by; a single one will do, for nothing is fitted to them.

    Raises
    ------
    BayesCtxlawError
        The table cannot be used, or a row has no score.
    """
    from bayes_ctxlaw.observations import as_design, as_observations

    rows = as_design(path, **names)
    without = int(rows["score"].isnull().sum()) if "score" in rows else rows.sizes["obs_id"]
    if without:
        raise ObservationError(
            f"--held-out {path}: {without} of {rows.sizes['obs_id']} rows have no `score`, which "
            "the prediction is judged by. Where the column has another name: --map score=COLUMN."
        )
    return rows if rows.sizes["obs_id"] == 1 else as_observations(path, **names)
