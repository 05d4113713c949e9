"""What the commands share: consoles, options, errors, names of files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from bayes_ctxlaw.errors import BayesCtxlawError, SpecificationError

if TYPE_CHECKING:
    import pandas as pd

OUT = Console()
"""For results."""

ERR = Console(stderr=True)
"""For progress and errors, so that results can be piped."""

DATASET_PREFIX = "dataset:"


@dataclass
class Settings:
    """What options before the command say, for all commands.

    Attributes
    ----------
    debug : bool
        Whether every error shows its traceback.
    """

    debug: bool = False


SETTINGS = Settings()

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the number of the signal."""

Draws = Annotated[int, typer.Option(min=4, help="Draws kept in each chain.")]
Tune = Annotated[int, typer.Option(min=1, help="Draws to tune the sampler, not kept.")]
Chains = Annotated[int, typer.Option(min=1, help="Independent chains.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print JSON instead of text; null is unknown or infinite."),
]
Mapping = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="NAME=COLUMN",
        help="The package's name of a variable = your column, as in llm=model. May be repeated.",
    ),
]


def reports_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command end with a message and an exit code for errors of the package and Ctrl-C.

    Parameters
    ----------
    command : callable

    Returns
    -------
    callable
        Of the package's own errors it shows the message alone, unless ``--debug`` was given. Any
        other error is a defect, and its traceback all that is known of it: it goes on.
    """

    @wraps(command)
    def reporting(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except BayesCtxlawError as error:
            if SETTINGS.debug:
                raise
            _complain(f"Error: {error}")
            raise typer.Exit(1) from error
        except KeyboardInterrupt as interrupt:
            if SETTINGS.debug:
                raise
            _complain(f"Interrupted. {_sentence(str(interrupt))}".rstrip())
            raise typer.Exit(INTERRUPTED) from interrupt

    return reporting


def _complain(text: str) -> None:
    ERR.print(text, style="red", markup=False, highlight=False, soft_wrap=True)


def _sentence(text: str) -> str:
    """A message with a capital letter, as a sentence after another."""
    return text[:1].upper() + text[1:]


def say(text: str) -> None:
    """Tell on stderr what is being done."""
    ERR.print(text, markup=False, highlight=False, soft_wrap=True)


def report_file(path: Path, meaning: str) -> None:
    """Name on stdout a file that was written."""
    OUT.print(f"{path}  {meaning}", markup=False, highlight=False, soft_wrap=True)


def print_json(data: Any) -> None:
    """Print plain data on stdout."""
    OUT.print_json(json.dumps(data, allow_nan=False))


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table, index included, as plain data; null for what is not a finite number."""
    text = table.reset_index().to_json(orient="records", double_precision=15)
    return json.loads(text)


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
