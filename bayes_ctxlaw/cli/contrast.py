"""``bayes-ctxlaw contrast``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bayes_ctxlaw.cli._common import (
    OUT,
    Force,
    Mapping,
    check_tables,
    column_names,
    report_file,
    reports_errors,
)
from bayes_ctxlaw.cli.predict import Kind, NewLevels, grid_axes


@reports_errors
def contrast(
    fit: Annotated[Path, typer.Argument(metavar="FIT.nc", help="A fit that was saved.")],
    level: Annotated[str, typer.Argument(help="technique, family, task or llm.")],
    a: Annotated[str, typer.Argument(help="A label of that level.")],
    b: Annotated[str, typer.Argument(help="Another one. Differences are A less B.")],
    at: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="Where to compare: a CSV or Parquet file. By default the rows of the fit that "
            "have either label.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Or a grid, as for predict. May be repeated."
        ),
    ] = None,
    map_: Mapping = None,
    kind: Annotated[
        Kind | None,
        typer.Option(help="law, llm or response, as for predict. By default law; for llms, llm."),
    ] = None,
    ci_prob: Annotated[float, typer.Option(help="Probability of the intervals.")] = 0.9,
    rope: Annotated[
        float | None,
        typer.Option(help="Margin of the score below which a difference does not matter."),
    ] = None,
    new_levels: Annotated[
        NewLevels, typer.Option(help="Labels the fit never saw: refuse, or be uncertain.")
    ] = NewLevels.error,
    seed: Annotated[int | None, typer.Option(min=0, help="By default that of the fit.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="File for the differences, CSV or Parquet."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the overall difference as JSON.")
    ] = False,
    force: Force = False,
) -> None:
    """Compare two techniques, families, tasks or checkpoints, all else equal.

    Example: `bayes-ctxlaw contrast fit.nc technique PI YaRN --rope 0.02`
    """
    names = column_names(map_)
    if at is not None and set_:
        raise typer.BadParameter(
            "give a table (--at) or a grid (--set), not both", param_hint="--at"
        )
    axes = grid_axes(set_ or [])
    from bayes_ctxlaw.context_law import ContextLaw
    from bayes_ctxlaw.contrasts import contrast as compare
    from bayes_ctxlaw.observations import as_design, grid
    from bayes_ctxlaw.output import with_intervals_named, write_table

    check_tables(out, force=force)
    design = grid(**axes) if axes else None if at is None else as_design(at, **names)
    found = compare(
        ContextLaw.load(fit),
        level,
        a,
        b,
        design,
        kind=None if kind is None else kind.value,
        ci_prob=ci_prob,
        rope=rope,
        new_levels=new_levels.value,
        random_seed=seed,
    )
    if as_json:
        overall, inside = (
            None if part is None else {n: float(v) for n, v in part.data_vars.items()}
            for part in (found.overall, found.inside)
        )
        result = found.overall.attrs | overall | {"sentence": found.sentence}
        result |= {"confounded_with": list(found.confounding.with_levels)}
        result |= {"inside_windows": inside}
        result |= {"unseen": list(found.confounding.unseen)}
        result |= {"notes": list(found.confounding.notes)}
        OUT.print_json(json.dumps(result))
    else:
        OUT.print(str(found), markup=False, highlight=False, soft_wrap=True)
    if out is not None:
        table = with_intervals_named(found.scores.to_dataframe(), found.scores.attrs)
        write_table(table, out)
        report_file(out, f"{len(table)} differences of {a} less {b}")
