"""``bayes-ctxlaw datasets``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bayes_ctxlaw.cli._common import (
    OUT,
    Force,
    Json,
    check_tables,
    print_json,
    records,
    report_file,
    reports_errors,
)
from bayes_ctxlaw.datasets import list_datasets, load_dataset
from bayes_ctxlaw.output import write_table


@reports_errors
def datasets(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A table to say more of, or to write.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="Write the table: CSV or Parquet.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """List the bundled tables of scores, or write one to a file.

    Example: `bayes-ctxlaw datasets montgomery2025 --out scores.csv`
    """
    if name is None:
        if out is not None:
            raise typer.BadParameter("say which table: datasets NAME --out FILE", param_hint="NAME")
        if as_json:
            print_json(records(list_datasets()))
        else:
            _list()
        return
    obs = load_dataset(name)
    if as_json:
        print_json(records(list_datasets().loc[[name]])[0])
    elif out is None:
        for key, value in list_datasets().loc[name].items():
            OUT.print(f"{str(key).replace('_', ' ')}: {value}", markup=False, highlight=False)
    if out is not None:
        check_tables(out, force=force)
        write_table(obs.to_dataframe(), out)
        if not as_json:
            report_file(out, f"{obs.sizes['obs_id']} observations of {name}")


def _list() -> None:
    table = Table(show_lines=True)
    for heading in ("name", "rows", "tasks", "llms"):
        right = "left" if heading == "name" else "right"
        table.add_column(heading, justify=right, no_wrap=True)
    table.add_column("description")
    for name, row in list_datasets().iterrows():
        counts = (str(row[key]) for key in ("rows", "tasks", "llms"))
        table.add_row(str(name), *counts, row["description"])
    OUT.print(table)
