"""What the commands share: consoles, options, errors, names of files."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bayes_ctxlaw.errors import BayesCtxlawError, SpecificationError

OUT = Console()
"""For results."""

ERR = Console(stderr=True)
"""For progress and errors, so that results can be piped."""

DATASET_PREFIX = "dataset:"

Draws = Annotated[int, typer.Option(min=4, help="Draws kept in each chain.")]
Tune = Annotated[int, typer.Option(min=1, help="Draws to tune the sampler, not kept.")]
Chains = Annotated[int, typer.Option(min=1, help="Independent chains.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")]
Mapping = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="NAME=COLUMN",
        help="The package's name of a variable = your column, as in llm=model. May be repeated.",
    ),
]


def reports_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command end with exit code 1 and one message for the package's own errors.

    Parameters
    ----------
    command : callable

    Returns
    -------
    callable
    """

    @wraps(command)
    def reporting(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except BayesCtxlawError as error:
            ERR.print(f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from error

    return reporting


def say(text: str) -> None:
    """Tell on stderr what is being done."""
    ERR.print(text, markup=False, highlight=False, soft_wrap=True)


def report_file(path: Path, meaning: str) -> None:
    """Name on stdout a file that was written."""
    OUT.print(f"{path}  {meaning}", markup=False, highlight=False, soft_wrap=True)


def column_names(pairs: list[str] | None) -> dict[str, str]:
    """``["llm=model"]`` → ``{"llm": "model"}``.

    Raises
    ------
    typer.BadParameter
        A pair is not of this form, or a name is given twice.
    """
    names: dict[str, str] = {}
    for pair in pairs or []:
        name, equals, column = pair.partition("=")
        if not (name and equals and column):
            raise typer.BadParameter(
                f"{pair!r} is not NAME=COLUMN, as in llm=model", param_hint="--map"
            )
        if name in names:
            raise typer.BadParameter(f"{name!r} is given twice", param_hint="--map")
        names[name] = column
    return names


def check_output(path: Path, force: bool) -> None:
    """Refuse an output file that exists or cannot be made, before any work is done.

    Raises
    ------
    SpecificationError
    """
    if path.is_dir():
        raise SpecificationError(f"{path} is a folder; give the name of a file.")
    if path.exists() and not force:
        raise SpecificationError(f"{path} exists. Give another name, or --force to replace it.")
    if not path.parent.is_dir():
        raise SpecificationError(f"there is no folder {path.parent} to write {path.name} to.")
