"""What the commands share: consoles, options, errors, names of files."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from bayes_ctxlaw._wording import worded
from bayes_ctxlaw.cli._wording import Options
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

DEFECT = 70
"""Exit code after a defect of the package: "internal software error" of BSD's sysexits."""

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
        Of the package's own errors, and of those of the machine (no permission, no memory), it
        shows the message alone, unless ``--debug`` was given; what the message advises are options.
        Any other error is a defect and goes on: see `bayes_ctxlaw.cli._defects`.
    """

    @wraps(command)
    def reporting(*args: Any, **options: Any) -> None:
        try:
            with worded(Options()):
                command(*args, **options)
        except BrokenPipeError:  # whoever read the results has enough: typer ends without a word
            raise
        except (BayesCtxlawError, OSError, MemoryError) as error:
            if SETTINGS.debug or is_defect(error):
                raise
            complain(f"Error: {_in_words(error)}")
            raise typer.Exit(1) from error
        except EOFError as error:
            # typer would take it for a question without an answer, and say no more than "Aborted".
            raise RuntimeError(f"EOFError: {error}") from error
        except KeyboardInterrupt as interrupt:
            if SETTINGS.debug:
                raise
            complain(f"Interrupted. {_sentence(str(interrupt))}".rstrip())
            raise typer.Exit(INTERRUPTED) from interrupt

    return reporting


def complain(text: str) -> None:
    """Say on stderr, in red, why a command did not do what it was asked."""
    ERR.print(text, style="red", markup=False, highlight=False, soft_wrap=True)


def is_defect(error: BaseException) -> bool:
    """Whether an error is neither one the package raises on purpose nor one of the machine.

    The machine's have a number: a library's own OSError without one, such as a timeout, is not.
    """
    if isinstance(error, OSError):
        return error.errno is None and not isinstance(error, BayesCtxlawError)
    return isinstance(error, Exception) and not isinstance(error, BayesCtxlawError | MemoryError)


def _in_words(error: BaseException) -> str:
    """The message of an error that is no defect; of the machine's, in words."""
    if isinstance(error, OSError):
        what = f"{error.filename}: " if error.filename is not None else ""
        return f"the system refuses: {what}{error.strerror or error}."
    if isinstance(error, MemoryError):
        more = f" ({error})" if str(error) else ""
        return f"there is not enough memory{more}. Fewer rows, draws or chains need less."
    return str(error)


def _sentence(text: str) -> str:
    """A message with a capital letter, as a sentence after another."""
    return text[:1].upper() + text[1:]


def say(text: str) -> None:
    """Tell on stderr what is being done."""
    ERR.print(text, markup=False, highlight=False, soft_wrap=True)


def say_warnings() -> None:
    """Tell warnings of the package as `say` does, without the line of code they come from."""
    shown = warnings.showwarning

    def told(message: Any, category: type[Warning], filename: str, lineno: int, *more: Any) -> None:
        if category is UserWarning:
            say(f"Warning: {message}")
        else:
            shown(message, category, filename, lineno, *more)

    warnings.showwarning = told


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


def column_names(pairs: list[str] | None, option: str = "--map") -> dict[str, str]:
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
                f"{pair!r} is not NAME=COLUMN, as in llm=model", param_hint=option
            )
        if name in names:
            raise typer.BadParameter(f"{name!r} is given twice", param_hint=option)
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


def check_tables(*paths: Path | None, force: bool) -> None:
    """Refuse files for tables that cannot be, or one for two; those not asked for are None.

    Raises
    ------
    SpecificationError
    """
    from bayes_ctxlaw.output import check_table_name

    asked = [path for path in paths if path is not None]
    for path in asked:
        check_output(path, force)
        check_table_name(path)
    places = [path.resolve() for path in asked]
    if twice := [place for place in places if places.count(place) > 1]:
        raise SpecificationError(
            f"{twice[0].name} is named for two tables; give each a file of its own."
        )
