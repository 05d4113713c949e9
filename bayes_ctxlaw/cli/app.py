"""The application: its commands and ``--version``."""

from __future__ import annotations

from typing import Annotated

import typer

from bayes_ctxlaw._version import __version__
from bayes_ctxlaw.cli._common import OUT, SETTINGS, say_warnings
from bayes_ctxlaw.cli._defects import report_defects
from bayes_ctxlaw.cli.backtest import backtest
from bayes_ctxlaw.cli.contrast import contrast
from bayes_ctxlaw.cli.datasets import datasets
from bayes_ctxlaw.cli.demo import demo
from bayes_ctxlaw.cli.fit import fit
from bayes_ctxlaw.cli.plan import plan
from bayes_ctxlaw.cli.predict import predict
from bayes_ctxlaw.cli.read import read
from bayes_ctxlaw.cli.report import report
from bayes_ctxlaw.cli.stack import stack

app = typer.Typer(
    name="bayes-ctxlaw",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    # What is uncaught is told in _defects, not by typer.
    pretty_exceptions_enable=False,
    epilog="**Exit codes.** 0: done. 1: it could not be done, or a value is out of its range; the "
    "message says why. 2: an option cannot be read, or does not go with the others. 70: a defect "
    "of this program. 130: interrupted by Ctrl-C.",
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
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of every error.")
    ] = False,
) -> None:
    """Forecast language-model scores beyond the lengths and sizes evaluated, with intervals.

    Start with: `bayes-ctxlaw demo`
    """
    SETTINGS.debug = debug


for command in (demo, read, fit, predict, contrast, backtest, stack, report, datasets):
    app.command()(command)
app.add_typer(plan, name="plan")


def main() -> None:
    """Entry point of ``bayes-ctxlaw``."""
    # Not app(): that would put typer's own hook in the place of ours.
    command = typer.main.get_command(app)
    report_defects()
    say_warnings()
    command()
