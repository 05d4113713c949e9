"""``bayes-ctxlaw backtest``."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

import typer

from bayes_ctxlaw.cli import _law
from bayes_ctxlaw.cli._common import (
    ERR,
    OUT,
    Chains,
    Draws,
    Force,
    Json,
    Mapping,
    Tune,
    check_output,
    column_names,
    print_json,
    records,
    report_file,
    reports_errors,
    say,
)


class Forecaster(StrEnum):
    """What can be put to the test."""

    CONTEXT_LAW = "context-law"
    LEAST_SQUARES = "least-squares"
    LEAST_SQUARES_CENTRED = "least-squares-centred"
    COMPUTE_ONLY = "compute-only"
    NO_POOLING = "no-pooling"
    COMPLETE_POOLING = "complete-pooling"
    TASK_LADDER = "task-ladder"


_SPLITS = {
    "beyond-context": "TOKENS",
    "beyond-compute": "FLOP",
    "beyond-window": "[RATIO]",
    "longest-in-window": "[SHARE]",
    "rolling-context": "TOKENS,TOKENS,…",
    "rolling-compute": "FLOP,FLOP,…",
    "leave-out": "LEVEL",
}
"""Splits by name, with what follows the equals sign; what is in brackets may be left out."""

_FORMS = ", ".join(f"{name}={value}" for name, value in _SPLITS.items())


@reports_errors
def backtest(
    scores: _law.Scores,
    split: Annotated[
        str,
        typer.Option(
            metavar="NAME=VALUE",
            help=f"What to hold out, one of {_FORMS}. LEVEL is family, task, llm, technique or "
            "another label of the scores.",
        ),
    ],
    forecaster: Annotated[
        list[Forecaster] | None,
        typer.Option(
            help="A forecaster to test. May be repeated. [default: context-law, least-squares]",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="leave-out: a label to leave out. May be repeated. Default: all."),
    ] = None,
    in_window: Annotated[
        bool,
        typer.Option(
            "--in-window", help="beyond-context, rolling-context: only prompts within their window."
        ),
    ] = False,
    map_: Mapping = None,
    ci_prob: Annotated[float, typer.Option(help="Probability of the intervals.")] = 0.9,
    by: Annotated[
        str, typer.Option(help="Label to tell scores apart by in the table: task, fold, …")
    ] = "task",
    context_term: _law.ContextTerm = _law.CONTEXT_TERM,
    compute_term: _law.ComputeTerm = _law.COMPUTE_TERM,
    penalty: _law.PenaltyTerm = _law.PENALTY,
    zero_context: _law.ZeroContextTerm = _law.ZERO_CONTEXT,
    dilution: _law.DilutionTerm = _law.DILUTION,
    likelihood: _law.LikelihoodName = _law.Likelihood.auto,
    draws: Draws = 1000,
    tune: Tune = 1000,
    chains: Chains = 4,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed, the same scores.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="File for the scores, CSV or Parquet.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="File for every held-out prediction, CSV or Parquet."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Hold out scores, predict them, and score what was predicted.

    The options of the law (terms, draws) are those of context-law.

    Example: `bayes-ctxlaw backtest scores.csv --split beyond-context=10000 --in-window`
    """
    names = column_names(map_)
    folds = split_of(split, label, in_window)
    from bayes_ctxlaw.output import check_table_name, write_table
    from bayes_ctxlaw.validation.backtest import backtest as test

    for path in (out, predictions):
        if path is not None:
            check_output(path, force)
            check_table_name(path)
    obs = _law.observations(scores, names, needs_context=False)
    wanted = forecaster or [Forecaster.CONTEXT_LAW, Forecaster.LEAST_SQUARES]
    law = {
        "context_term": context_term.value,
        "compute_term": compute_term.value,
        "penalty": penalty.value,
        "likelihood": likelihood.value,
        "zero_context": zero_context.value,
        "dilution": dilution.value,
    }
    made = {one.value: _made(one, law) for one in wanted}
    options = {"draws": draws, "tune": tune, "chains": chains}
    taken = {name for one in made.values() for name in signature(one.fit).parameters}
    say(f"Testing {', '.join(made)} on {obs.sizes['obs_id']} observations")
    found = test(
        made,
        obs,
        folds,
        ci_prob,
        fit_options={name: value for name, value in options.items() if name in taken},
        random_seed=seed,
        progressbar=ERR.is_terminal,
    )
    table = found.score_table(by)
    if out is not None:
        write_table(table, out)
    if predictions is not None:
        write_table(_prediction_rows(found), predictions)
    if as_json:
        print_json(
            {
                "sentence": found.sentence(),
                "notes": found.notes,
                "random_seed": int(found.predictions.attrs["random_seed"]),
                "scores": records(table),
                "fits": records(found.fits),
            }
        )
        return
    text = str(found) if by == "task" else _by(found, table)
    OUT.print(text, markup=False, highlight=False, soft_wrap=True)
    if out is not None:
        report_file(out, f"{len(table)} rows of scores")
    if predictions is not None:
        report_file(predictions, "every held-out score beside its predictions")


def split_of(text: str, labels: list[str] | None = None, in_window: bool = False) -> Callable:
    """``"beyond-context=10000"`` → ``splits.beyond_context(10000.0)``.

    Raises
    ------
    typer.BadParameter
        There is no such split, or an option does not go with it.
    SpecificationError
        Its value is out of range.
    """
    from bayes_ctxlaw.validation import splits

    name, equals, value = text.partition("=")
    optional = _SPLITS.get(name, "").startswith("[")
    if name not in _SPLITS or (equals and not value) or (not equals and not optional):
        raise typer.BadParameter(f"{text!r} is not one of {_FORMS}", param_hint="--split")
    if labels and name != "leave-out":
        raise typer.BadParameter("goes with --split leave-out=LEVEL", param_hint="--label")
    windowed = name in ("beyond-context", "rolling-context")
    if in_window and not windowed:
        raise typer.BadParameter(
            "goes with the splits beyond-context and rolling-context", param_hint="--in-window"
        )
    function = getattr(splits, name.replace("-", "_"))
    if name == "leave-out":
        return function(value, labels)
    numbers = _numbers(text, value) if value else []
    arguments = [numbers] if name.startswith("rolling") else numbers
    if len(arguments) > 1:
        raise typer.BadParameter(f"{text!r}: give one number", param_hint="--split")
    return function(*arguments, **({"in_window": True} if in_window else {}))


def _numbers(text: str, value: str) -> list[float]:
    try:
        return [float(part) for part in value.split(",")]
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r}: {value!r} is not a number, such as 10000 or 1e24", param_hint="--split"
        ) from error


def _made(name: Forecaster, law: dict[str, str]) -> Any:
    from bayes_ctxlaw import rivals
    from bayes_ctxlaw.context_law import ContextLaw

    return {
        Forecaster.CONTEXT_LAW: lambda: ContextLaw(**law),
        Forecaster.LEAST_SQUARES: rivals.LeastSquaresLaw,
        Forecaster.LEAST_SQUARES_CENTRED: lambda: rivals.LeastSquaresLaw(centred=True),
        Forecaster.COMPUTE_ONLY: rivals.ComputeOnlyLaw,
        Forecaster.NO_POOLING: rivals.NoPoolingLaw,
        Forecaster.COMPLETE_POOLING: rivals.CompletePoolingLaw,
        Forecaster.TASK_LADDER: rivals.TaskLadder,
    }[name]()


def _by(found: Any, table: Any) -> str:
    from bayes_ctxlaw.judgement import interval_name

    title = f"Backtest: intervals are the {interval_name(found.predictions)}"
    return "\n".join([title, "", table.round(4).to_string(), "", found.sentence(), *found.notes])


def _prediction_rows(found: Any) -> Any:
    """Every held-out row, once for each forecaster."""
    import pandas as pd

    from bayes_ctxlaw.output import prediction_table

    names = found.predictions["forecaster"].values.tolist()
    own = {n: found.predictions.sel(forecaster=n).reset_coords("fold") for n in names}
    tables = {n: prediction_table(rows.drop_vars("forecaster")) for n, rows in own.items()}
    return pd.concat(tables, names=["forecaster"])
