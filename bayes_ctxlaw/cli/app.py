"""The application: its commands and ``--version``."""

from __future__ import annotations

from typing import Annotated

import typer

from bayes_ctxlaw._version import __version__
from bayes_ctxlaw.cli._common import OUT
from bayes_ctxlaw.cli.contrast import contrast
from bayes_ctxlaw.cli.datasets import datasets
from bayes_ctxlaw.cli.demo import demo
from bayes_ctxlaw.cli.fit import fit
from bayes_ctxlaw.cli.plan import plan
from bayes_ctxlaw.cli.predict import predict
from bayes_ctxlaw.cli.read import read

app = typer.Typer(
    name="bayes-ctxlaw",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    # A defect shows Python's plain traceback; the package's own errors are one message.
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        OUT.print(f"bayes-ctxlaw {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Forecast language-model scores beyond the lengths and sizes evaluated, with intervals.

    Start with: `bayes-ctxlaw demo`
    """


for command in (demo, fit, predict, contrast, datasets, read):
    app.command()(command)
app.add_typer(plan, name="plan")


def main() -> None:
    """Entry point of ``bayes-ctxlaw``."""
    app()
