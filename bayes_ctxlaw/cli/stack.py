"""``bayes-ctxlaw stack``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    check_tables,
    column_names,
    print_json,
    records,
    report_file,
    reports_errors,
    say,
)
from bayes_ctxlaw.cli._forecasters import (
    DEFAULT,
    Anchors,
    Forecaster,
    Forecasters,
    Items,
    ItemsMap,
    LadderVariant,
    Resamples,
    RivalOptions,
    TokensPerParam,
    fit_options,
    forecasters,
)
from bayes_ctxlaw.cli._splits import (
    HorizonName,
    InWindow,
    Labels,
    PastWindow,
    inside,
    split_of,
)
from bayes_ctxlaw.cli.predict import Kind, NewLevels, grid_axes, say_extrapolation

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@reports_errors
def stack(
    scores: _law.Scores,
    forecaster: Forecasters = None,
    split: Annotated[
        str,
        typer.Option(
            metavar="NAME=VALUE",
            help="What to hold out to find the weights, one of the splits above: what is most "
            "like the question.",
        ),
    ] = "longest-in-window",
    label: Labels = None,
    in_window: InWindow = False,
    past_window: PastWindow = False,
    horizon: HorizonName = None,
    map_: Mapping = None,
    at: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Points to predict: a CSV or Parquet file."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Or a grid, as for predict. May be repeated."
        ),
    ] = None,
    kind: Annotated[
        Kind, typer.Option(help="law, llm or response, as for predict.")
    ] = Kind.response,
    ci_prob: Annotated[float, typer.Option(help="Probability of the intervals.")] = 0.9,
    new_levels: Annotated[
        NewLevels, typer.Option(help="Labels the fit never saw: refuse, or be uncertain.")
    ] = NewLevels.error,
    items: Items = None,
    items_map: ItemsMap = None,
    anchor: Anchors = None,
    ladder_variant: LadderVariant = None,
    tokens_per_param: TokensPerParam = None,
    resamples: Resamples = None,
    context_term: _law.ContextTerm = _law.CONTEXT_TERM,
    compute_term: _law.ComputeTerm = _law.COMPUTE_TERM,
    penalty: _law.PenaltyTerm = _law.PENALTY,
    zero_context: _law.ZeroContextTerm = _law.ZERO_CONTEXT,
    dilution: _law.DilutionTerm = _law.DILUTION,
    discrepancy: _law.DiscrepancyTerm = _law.DISCREPANCY,
    likelihood: _law.LikelihoodName = _law.Likelihood.auto,
    draws: Draws = 1000,
    tune: Tune = 1000,
    chains: Chains = 4,
    thin: _law.Thin = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same seed, the same weights and predictions.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="File for the predictions.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE", help="File for the weights and the held-out scores they follow from."
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Average forecasters by weights that held-out scores decide, and predict with all of them.

    Each is fitted twice: to the scores that are not held out, and to all. The weights are those
    with which the average predicts the held-out scores best (smallest CRPS). How good the average
    is they cannot say; `backtest --stack` does.

    **Splits** and **forecasters** are those of `backtest`: `longest-in-window[=SHARE]`,
    `beyond-context=TOKENS`, `beyond-compute=FLOP`, `leave-out=LEVEL`, …; `context-law`,
    `least-squares`, `compute-only`, `no-pooling`, `complete-pooling`, …

    Example: `bayes-ctxlaw stack scores.csv --at points.csv --out predictions.csv`
    """
    names = column_names(map_)
    folds = split_of(split, label, inside(in_window, past_window), horizon)
    wanted = list(dict.fromkeys(forecaster or DEFAULT))
    if len(wanted) < 2:
        raise typer.BadParameter("give at least two to average", param_hint="--forecaster")
    options = RivalOptions(
        items=items,
        item_columns=column_names(items_map, "--items-map"),
        anchors=anchor,
        variant=ladder_variant,
        tokens_per_param=tokens_per_param,
        resamples=resamples,
    )
    options.check(wanted)
    _check_points(at, set_, out, as_json)
    axes = grid_axes(set_ or [])
    from bayes_ctxlaw.judgement import interval_name
    from bayes_ctxlaw.observations import as_design, grid
    from bayes_ctxlaw.output import prediction_table, write_table
    from bayes_ctxlaw.predict import check_options
    from bayes_ctxlaw.validation.stacking import stack as average

    check_tables(out, weights, force=force)
    check_options(kind.value, ci_prob, new_levels.value)
    obs = _law.observations(scores, names, needs_context=False)
    # All that may be wrong with the points is found before the fits.
    needs = {"needs_context": "prompt_tokens" in obs and "context_window" in obs}
    design = None if at is None else as_design(at, **needs, **_own(at, names))
    if axes:
        design = grid(**needs, **axes)
    law = _law.options(
        context_term=context_term,
        compute_term=compute_term,
        penalty=penalty,
        likelihood=likelihood,
        zero_context=zero_context,
        dilution=dilution,
        discrepancy=discrepancy,
    )
    made = forecasters(wanted, law, options)
    settings = {"draws": draws, "tune": tune, "chains": chains, "thin": thin}
    settings = fit_options(made, settings)
    if design is not None and new_levels is NewLevels.error:
        _check_labels(obs, design, wanted, kind)
    say(f"Weighing {', '.join(made)} on {obs.sizes['obs_id']} observations")
    found = average(made, folds).fit(obs, **settings, random_seed=seed, progressbar=ERR.is_terminal)
    shares = _shares(found)
    written = {weights: (shares, "weights, with the held-out scores they follow from")}
    result: dict[str, Any] = {
        "split": found.backtest.predictions.attrs["split"],
        "weights": records(shares),
        "notes": found.backtest.notes,
        "random_seed": int(found.backtest.predictions.attrs["random_seed"]),
    }
    if design is not None:
        prediction = found.predict(
            design, ci_prob=ci_prob, kind=kind.value, new_levels=new_levels.value
        )
        table = prediction_table(prediction)
        written[out] = table, f"rows with their {interval_name(prediction)}"
        result |= {"intervals": interval_name(prediction), "rows": records(table)}
        say_extrapolation(prediction)
    written.pop(None, None)
    for path, (content, _) in written.items():
        write_table(content, path)
    if as_json:
        print_json(result)
        return
    OUT.print(str(found), markup=False, highlight=False, soft_wrap=True)
    for path, (content, meaning) in written.items():
        report_file(path, f"{len(content)} {meaning}")


def _check_points(at: Path | None, set_: list[str] | None, out: Path | None, as_json: bool) -> None:
    """Refuse points without a place for their predictions, and such a place without points.

    Raises
    ------
    typer.BadParameter
    """
    if at is not None and set_:
        raise typer.BadParameter(
            "give a table (--at) or a grid (--set), not both", param_hint="--at"
        )
    points = at is not None or bool(set_)
    if points and out is None and not as_json:
        raise typer.BadParameter(
            "say where to write the predictions, or give --json", param_hint="--out"
        )
    if out is not None and not points:
        raise typer.BadParameter(
            "is for predictions: say where to predict, by --at or --set; the weights go to "
            "--weights",
            param_hint="--out",
        )


def _check_labels(
    obs: xr.Dataset, design: xr.Dataset, wanted: list[Forecaster], kind: Kind
) -> None:
    """Refuse points with labels that a fit to these scores never sees, before it is made.

    Raises
    ------
    UnknownLabelError
    """
    from bayes_ctxlaw.encoding import BASE_LEVELS, level_labels
    from bayes_ctxlaw.predict import check_known

    # All refuse a new task, and the law whatever it has effects of.
    levels = BASE_LEVELS if Forecaster.CONTEXT_LAW in wanted else ("task",)
    known = {
        level: list(dict.fromkeys(level_labels(obs, level)))
        for level in levels
        if level in obs and not (level == "llm" and kind is Kind.law)
    }
    check_known(design, known)


def _own(at: Path, names: dict[str, str]) -> dict[str, str]:
    """The columns that a table of points has of those that ``--map`` names for the scores."""
    from bayes_ctxlaw._tables import read_table
    from bayes_ctxlaw.observations import text_columns

    columns = set(read_table(at, text_columns(names)).frame.columns)
    return {name: column for name, column in names.items() if column in columns}


def _shares(found: Any) -> pd.DataFrame:
    """Weight of every forecaster beside its scores over all held-out rows."""
    scores = found.backtest.totals
    scores.insert(0, "weight", found.weights.to_numpy())
    return scores
