"""``bayes-ctxlaw plan``: what a target needs, and what to evaluate next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import xarray as xr
from rich.table import Table

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

if TYPE_CHECKING:
    from bayes_ctxlaw._tables import Table as Points

plan = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Plan from a saved fit: the context or compute a target needs, the next evaluation.\n\n"
    "Example: `bayes-ctxlaw plan context fit.nc --at points.csv --target 0.7`",
)

_SHOWN = 10  # candidates in the table on the screen

Fit = Annotated[Path, typer.Argument(metavar="FIT.nc", help="A fit that was saved.")]
Target = Annotated[float, typer.Option(help="Score to reach, between 0 and 1.")]
Prob = Annotated[float, typer.Option(help="Probability with which it shall be reached.")]
At = Annotated[
    Path | None,
    typer.Option("--at", metavar="TABLE", help="Settings to answer for: a CSV or Parquet file."),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Or a grid of them, as for predict. Leave out what is searched for, or give its "
        "range: prompt_tokens=50:131072:2. May be repeated.",
    ),
]
Kinds = Annotated[
    Kind,
    typer.Option(
        help="The score without an effect of the checkpoint (law), of the checkpoint (llm), or "
        "what an evaluation shows (response)."
    ),
]
CiProb = Annotated[float, typer.Option(help="Probability of the intervals.")]
Levels = Annotated[
    NewLevels, typer.Option(help="Labels the fit never saw: refuse, or be uncertain.")
]
Seed = Annotated[int | None, typer.Option(min=0, help="By default that of the fit.")]
Out = Annotated[
    Path | None, typer.Option(metavar="TABLE", help="File for the table, CSV or Parquet.")
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print JSON instead of text; null is unknown, or beyond the range."
    ),
]


@plan.command()
@reports_errors
def context(
    fit: Fit,
    target: Target,
    prob: Prob = 0.9,
    at: At = None,
    set_: Set = None,
    map_: Mapping = None,
    kind: Kinds = Kind.llm,
    ci_prob: CiProb = 0.9,
    new_levels: Levels = NewLevels.error,
    seed: Seed = None,
    out: Out = None,
    force: Force = False,
    json_: Json = False,
) -> None:
    """Fewest prompt tokens at which a score reaches a target.

    Example: `bayes-ctxlaw plan context fit.nc --target 0.7 --set task=qa --set llm=A-8k
    --set compute=8e22 --set context_window=8192`
    """
    from bayes_ctxlaw.planning import required_context

    options = _options(kind, ci_prob, new_levels, seed)
    points = _points(at, set_, column_names(map_))
    law = _law(fit, out, force)
    _show(required_context(law, target, prob, at=points, **options), out, json_)


@plan.command()
@reports_errors
def compute(
    fit: Fit,
    target: Target,
    prob: Prob = 0.9,
    at: At = None,
    set_: Set = None,
    map_: Mapping = None,
    kind: Kinds = Kind.llm,
    ci_prob: CiProb = 0.9,
    new_levels: Levels = NewLevels.error,
    seed: Seed = None,
    out: Out = None,
    force: Force = False,
    json_: Json = False,
) -> None:
    """Least training compute with which a score reaches a target.

    Example: `bayes-ctxlaw plan compute fit.nc --target 0.7 --set task=qa --set llm=larger
    --set prompt_tokens=4000 --set context_window=8192 --new-levels uncertainty`
    """
    from bayes_ctxlaw.planning import required_compute

    options = _options(kind, ci_prob, new_levels, seed)
    points = _points(at, set_, column_names(map_))
    law = _law(fit, out, force)
    _show(required_compute(law, target, prob, at=points, **options), out, json_)


@plan.command("next")
@reports_errors
def next_(
    fit: Fit,
    candidates: Annotated[
        Path,
        typer.Option(
            metavar="TABLE",
            help="What could be evaluated: a CSV or Parquet file with n_items. Rows of one value "
            "in a column `candidate` go together.",
        ),
    ],
    at: At = None,
    set_: Set = None,
    map_: Mapping = None,
    cost: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Column with the cost; by default n_items × prompt_tokens."
        ),
    ] = None,
    budget: Annotated[float | None, typer.Option(help="Largest cost that is affordable.")] = None,
    kind: Kinds = Kind.llm,
    ci_prob: CiProb = 0.9,
    new_levels: Levels = NewLevels.error,
    seed: Seed = None,
    out: Out = None,
    force: Force = False,
    json_: Json = False,
) -> None:
    """Which evaluation narrows the interval at the places of interest most.

    Example: `bayes-ctxlaw plan next fit.nc --candidates todo.csv --at interest.csv --budget 2e7`
    """
    from bayes_ctxlaw.planning import next_evaluation

    options = _options(kind, ci_prob, new_levels, seed)
    _check_points(at, set_)
    tables = _tables([candidates] if at is None else [candidates, at], column_names(map_))
    points = grid_axes(set_ or []) if at is None else tables[1]
    law = _law(fit, out, force)
    ranked = next_evaluation(law, tables[0], at=points, cost=cost, budget=budget, **options)
    _show(ranked, out, json_)


def _options(kind: Kind, ci_prob: float, new_levels: NewLevels, seed: int | None) -> dict[str, Any]:
    return {
        "kind": kind.value,
        "ci_prob": ci_prob,
        "new_levels": new_levels.value,
        "random_seed": seed,
    }


def _points(at: Path | None, set_: list[str] | None, names: dict[str, str]) -> Any:
    """A table with the package's names, or the axes of a grid."""
    _check_points(at, set_)
    if at is not None:
        return _tables([at], names)[0]
    if names:
        raise typer.BadParameter("goes with a table (--at), not with a grid", param_hint="--map")
    return grid_axes(set_ or [])


def _check_points(at: Path | None, set_: list[str] | None) -> None:
    if (at is None) == (not set_):
        raise typer.BadParameter("give either a table (--at) or a grid (--set)", param_hint="--at")


def _tables(paths: list[Path], names: dict[str, str]) -> list[Points]:
    """Tables with the package's names, of which ``--map`` may rename columns of some only."""
    from bayes_ctxlaw._tables import read_table
    from bayes_ctxlaw.observations import check_mapping, text_columns

    tables = [read_table(path, text_columns(names)) for path in paths]
    held = {name: [column in one.frame for one in tables] for name, column in names.items()}
    for i, table in enumerate(tables):
        # A column that no table has is a fault of the first.
        own = {n: c for n, c in names.items() if held[n][i] or (i == 0 and not any(held[n]))}
        check_mapping(list(table.frame.columns), own)
        table.frame = table.frame.rename(columns={column: name for name, column in own.items()})
    return tables


def _law(fit: Path, out: Path | None, force: bool) -> Any:
    from bayes_ctxlaw.context_law import ContextLaw

    check_tables(out, force=force)
    return ContextLaw.load(fit)


def _show(plan: xr.Dataset, out: Path | None, json_: bool) -> None:
    """Print a plan, as words or as JSON, and write its table if asked."""
    from bayes_ctxlaw.output import write_table
    from bayes_ctxlaw.planning import plan_table

    table = plan_table(plan)
    if out is not None:
        write_table(table, out)
    if json_:
        rows = json.loads(table.reset_index().to_json(orient="records", double_precision=15))
        OUT.print_json(data={"sentence": plan.attrs["sentence"], "rows": rows})
        return
    OUT.print(plan.attrs["sentence"], markup=False, highlight=False, soft_wrap=True)
    if "candidate" in plan.dims:
        OUT.print(_ranking(plan))
    if out is not None:
        report_file(out, f"{len(table)} rows")


def _ranking(plan: xr.Dataset) -> Table:
    from bayes_ctxlaw.planning import plan_table

    rows = plan_table(plan).head(_SHOWN)
    unit = plan.attrs["cost_unit"]
    table = Table("candidate", f"cost ({unit})", "affordable", "width after", "variance less by")
    for name, row in rows.iterrows():
        table.add_row(
            str(name),
            f"{row['cost']:,.0f}",
            "yes" if row["affordable"] else "no",
            f"{row['mean_width_after']:.4f}",
            f"{100 * row['reduction_share']:.1f} %",
        )
    if plan.sizes["candidate"] > _SHOWN:
        table.caption = f"The first {_SHOWN} of {plan.sizes['candidate']}; --out writes them all."
    return table
