"""``bayes-ctxlaw read``."""

from __future__ import annotations

import json
import math
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bayes_ctxlaw.cli._common import (
    ERR,
    Force,
    Mapping,
    check_tables,
    column_names,
    report_file,
    reports_errors,
    say,
)
from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.output import write_table


class Format(StrEnum):
    """What wrote the files."""

    LM_EVAL = "lm-eval"
    INSPECT = "inspect"
    CONTEXT_SCALING = "context-scaling"
    TABLE = "table"


class Repeats(StrEnum):
    """What to do where the same was evaluated again."""

    RAISE = "raise"
    LATEST = "latest"
    KEEP = "keep"


_HARNESSES = (Format.LM_EVAL, Format.INSPECT)
_EVALUATIONS = (*_HARNESSES, Format.CONTEXT_SCALING)


@reports_errors
def read(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of evaluation outputs, or one file.")
    ],
    format_: Annotated[Format, typer.Option("--format", help="What wrote the files.")],
    out: Annotated[Path, typer.Option(metavar="TABLE", help="Table to write: CSV or Parquet.")],
    llms: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="Compute, window, family and technique by llm: CSV or Parquet with a column llm.",
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=LABEL]",
            help="A task to read, and what to call it; one label for several pools their items. "
            "May be repeated. Default: all.",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="The metric that is the score. May be repeated, in order of preference."),
    ] = None,
    percent: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC", help="A metric in percent: divide it by 100. May be repeated."
        ),
    ] = None,
    chance: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK=VALUE", help="Score of pure guessing. May be repeated."),
    ] = None,
    shots: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="inspect: argument of the tasks that holds the shots."),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="lm-eval: tokenizer.json of the models' tokenizer, to count the tokens of the "
            "logged prompts.",
        ),
    ] = None,
    map_: Mapping = None,
    repeats: Annotated[
        Repeats, typer.Option(help="What to do where the same was evaluated again.")
    ] = Repeats.RAISE,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Read the rest where files are broken.")
    ] = False,
    incomplete: Annotated[
        bool,
        typer.Option("--incomplete", help="Write what is known, though more is needed for a fit."),
    ] = False,
    force: Force = False,
) -> None:
    """Read evaluation outputs into one table of scores, checked and ready for a fit.

    Example: `bayes-ctxlaw read results --format lm-eval --metric acc --tokenizer tokenizer.json
    --llms llms.csv --out obs.csv`
    """
    names = column_names(map_)
    _refuse("--metric", metric, format_ in _HARNESSES)
    _refuse("--percent", percent, format_ in _HARNESSES)
    _refuse("--task", task, format_ in _EVALUATIONS)
    _refuse("--repeats", repeats is not Repeats.RAISE, format_ in _EVALUATIONS)
    _refuse("--tokenizer", tokenizer, format_ is Format.LM_EVAL)
    _refuse("--shots", shots, format_ is Format.INSPECT)
    _refuse("--map", names, format_ is Format.TABLE)
    check_tables(out, force=force)
    options: dict[str, Any] = {
        "llms": llms,
        "chance": _numbers(chance),
        "on_error": "skip" if skip_broken else "raise",
        "progressbar": ERR.is_terminal,
    }
    if format_ in _EVALUATIONS:
        options |= {"tasks": _labels(task), "repeats": repeats.value}
    if format_ in _HARNESSES:
        by_name = dict.fromkeys(percent or [], _hundredth)
        options |= {"metric": metric or None, "convert": by_name or None}
    if format_ is Format.INSPECT:
        options["shots"] = shots
    if tokenizer is not None:
        options["count_tokens"] = _counter(tokenizer)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        reading = _reader(format_)(folder, **options, **names)
    for warning in caught:
        say(str(warning.message))
    # What keeps a table from being one of observations is in their error, and not said twice.
    lacking = [n for n in ("compute", "context_window", "prompt_tokens") if n in reading.unknown]
    say("\n".join(reading.notes) if lacking and not incomplete else str(reading))
    if incomplete:
        table = reading.table.assign(**{n: math.nan for n in lacking if n not in reading.table})
    else:
        from bayes_ctxlaw.observations import as_observations
        from bayes_ctxlaw.schema import is_assumed

        observations = as_observations(reading)
        chance = observations["chance"]
        # A file cannot say that its 0 is only assumed, and that of a fit would not replace it.
        assumed = is_assumed(chance.values, chance.attrs)
        table = (observations.drop_vars("chance") if assumed else observations).to_dataframe()
    write_table(table.rename_axis("obs_id"), out)
    report_file(out, f"{len(table)} observations, for bayes-ctxlaw fit or as_observations")


def _reader(format_: Format) -> Any:
    from bayes_ctxlaw import readers

    return {
        Format.LM_EVAL: readers.read_lm_eval,
        Format.INSPECT: readers.read_inspect,
        Format.CONTEXT_SCALING: readers.read_context_scaling,
        Format.TABLE: readers.read_tables,
    }[format_]


def _counter(path: Path) -> Any:
    """Count the tokens of a text by a tokenizer on disk."""
    if not path.is_file():
        raise SpecificationError(
            f"there is no file {path}. Give the tokenizer.json that comes with the model."
        )
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise SpecificationError(
            '--tokenizer needs the package tokenizers: pip install "bayes_ctxlaw[readers]".'
        ) from error
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except ValueError as error:
        raise SpecificationError(f"{path} is not JSON: {error}.") from error
    if not isinstance(content, dict) or "model" not in content:
        raise SpecificationError(
            f"{path} holds no tokenizer: it has no key 'model'. Give the tokenizer.json that comes "
            "with the model, not its tokenizer_config.json."
        )
    loaded = Tokenizer.from_str(text)
    return lambda text: len(loaded.encode(text).ids)


def _hundredth(value: float) -> float:
    return value / 100


def _refuse(option: str, given: object, fits: bool) -> None:
    if given and not fits:
        raise typer.BadParameter("this format has nothing of the kind", param_hint=option)


def _labels(tasks: list[str] | None) -> dict[str, str] | None:
    """``["a", "b=c"]`` → ``{"a": "a", "b": "c"}``."""
    labels = {}
    for text in tasks or []:
        name, equals, label = text.partition("=")
        if not name or (equals and not label) or name in labels:
            raise typer.BadParameter(
                f"{text!r} is not NAME or NAME=LABEL, each name once", param_hint="--task"
            )
        labels[name] = label or name
    return labels or None


def _numbers(pairs: list[str] | None) -> dict[str, float] | None:
    """``["a=0.5"]`` → ``{"a": 0.5}``."""
    numbers = {}
    for pair in pairs or []:
        name, _, value = pair.rpartition("=")
        try:
            numbers[name] = float(value)
        except ValueError:
            name = ""
        if not name:
            raise typer.BadParameter(
                f"{pair!r} is not TASK=VALUE, as in piqa=0.5", param_hint="--chance"
            )
    return numbers or None
