"""``bayes-ctxlaw predict``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import xarray as xr

from bayes_ctxlaw.cli._common import (
    Force,
    Json,
    Mapping,
    check_tables,
    column_names,
    print_json,
    records,
    report_file,
    reports_errors,
    say,
)
from bayes_ctxlaw.observations import as_design, grid
from bayes_ctxlaw.predict import KINDS, NEW_LEVELS
from bayes_ctxlaw.schema import NUMBERS

Kind = StrEnum("Kind", {name: name for name in KINDS})
NewLevels = StrEnum("NewLevels", {name: name for name in NEW_LEVELS})

_FORM = "NAME=VALUE, or NAME=START:STOP:COUNT for a number (evenly spaced in its logarithm)"


@reports_errors
def predict(
    fit: Annotated[Path, typer.Argument(metavar="FIT.nc", help="A fit that was saved.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="File for the predictions, CSV or Parquet. Needed unless --json is given.",
        ),
    ] = None,
    at: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Points to predict: a CSV or Parquet file."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help=f"Or a grid: {_FORM}. May be repeated, also for several values of one NAME.",
        ),
    ] = None,
    map_: Mapping = None,
    kind: Annotated[
        Kind,
        typer.Option(
            help="Uncertainty of the parameters (law), of the checkpoint (llm), of an evaluation "
            "(response)."
        ),
    ] = Kind.response,
    ci_prob: Annotated[float, typer.Option(help="Probability of the intervals.")] = 0.9,
    new_levels: Annotated[
        NewLevels, typer.Option(help="Labels the fit never saw: refuse, or be uncertain.")
    ] = NewLevels.error,
    seed: Annotated[int | None, typer.Option(min=0, help="By default that of the fit.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Predict scores with intervals from a saved fit.

    Example: `bayes-ctxlaw predict fit.nc --at points.csv --out predictions.csv`

    A grid: `bayes-ctxlaw predict fit.nc --set task=qa --set llm=A-8k --set compute=8e22
    --set context_window=8192 --set prompt_tokens=50:131072:200 --out predictions.csv`
    """
    names = column_names(map_)
    if out is None and not as_json:
        raise typer.BadParameter("say where to write the table, or give --json", param_hint="--out")
    if (at is None) == (not set_):
        raise typer.BadParameter("give either a table (--at) or a grid (--set)", param_hint="--at")
    if set_ and names:
        raise typer.BadParameter("goes with a table (--at), not with a grid", param_hint="--map")
    axes = grid_axes(set_ or [])
    from bayes_ctxlaw.context_law import ContextLaw
    from bayes_ctxlaw.judgement import interval_name
    from bayes_ctxlaw.output import prediction_table, write_table

    check_tables(out, force=force)
    design = grid(**axes) if at is None else as_design(at, **names)
    law = ContextLaw.load(fit)
    prediction = law.predict(
        design,
        kind=kind.value,
        ci_prob=ci_prob,
        new_levels=new_levels.value,
        random_seed=seed,
    )
    table = prediction_table(prediction)
    if out is not None:
        write_table(table, out)
    say_extrapolation(prediction)
    if as_json:
        print_json({"intervals": interval_name(prediction), "rows": records(table)})
    elif out is not None:
        report_file(out, f"{len(table)} rows with their {interval_name(prediction)}")


def grid_axes(specs: list[str]) -> dict[str, Any]:
    """``["task=qa", "prompt_tokens=50:5000:3"]`` → arguments of `grid`.

    Raises
    ------
    typer.BadParameter
        A specification cannot be read.
    """
    axes: dict[str, list[Any]] = {}
    for spec in specs:
        name, equals, text = spec.partition("=")
        if not (name and equals and text):
            raise typer.BadParameter(f"{spec!r} is not {_FORM}", param_hint="--set")
        axes.setdefault(name, []).extend(_numbers(spec, text) if name in NUMBERS else [text])
    return {name: values[0] if len(values) == 1 else values for name, values in axes.items()}


def _numbers(spec: str, text: str) -> list[float]:
    parts = text.split(":")
    try:
        if len(parts) == 1:
            return [float(part) for part in text.split(",")]
        start, stop, count = float(parts[0]), float(parts[1]), int(parts[2])
    except (ValueError, IndexError) as error:
        raise typer.BadParameter(f"{spec!r} is not {_FORM}", param_hint="--set") from error
    if len(parts) > 3 or not (0 < start < np.inf and 0 < stop < np.inf and count >= 2):
        raise typer.BadParameter(
            f"{spec!r}: START and STOP must be above 0 and COUNT at least 2", param_hint="--set"
        )
    return np.geomspace(start, stop, count).tolist()


def say_extrapolation(prediction: xr.Dataset) -> None:
    """Say how many rows lie beyond the data, and how far along which axis."""
    beyond = prediction["extrapolation"]
    rows = int((beyond > 0).any("axis").sum())
    if rows:
        most = beyond.max("obs_id").to_series()
        far = [
            f"{str(axis).replace('_', ' ')} by up to {decades:.2g} decades"
            for axis, decades in most[most > 0].items()
        ]
        say(f"{rows} of {beyond.sizes['obs_id']} rows lie beyond the data: {', '.join(far)}")
