"""``bayes-ctxlaw backtest``."""

from __future__ import annotations

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


@reports_errors
def backtest(
    scores: _law.Scores,
    split: Annotated[
        str,
        typer.Option(
            metavar="NAME=VALUE",
            help="What to hold out, one of the splits above. LEVEL is family, task, llm, "
            "technique or another label of the scores.",
        ),
    ],
    forecaster: Forecasters = None,
    label: Labels = None,
    in_window: InWindow = False,
    past_window: PastWindow = False,
    horizon: HorizonName = None,
    map_: Mapping = None,
    items: Items = None,
    items_map: ItemsMap = None,
    anchor: Anchors = None,
    ladder_variant: LadderVariant = None,
    tokens_per_param: TokensPerParam = None,
    resamples: Resamples = None,
    stacked: Annotated[
        bool,
        typer.Option(
            "--stack",
            help="Test the average of the forecasters as well, by weights found anew in every "
            "fold; see the command stack.",
        ),
    ] = False,
    ci_prob: Annotated[float, typer.Option(help="Probability of the intervals.")] = 0.9,
    by: Annotated[
        str, typer.Option(help="Label to tell scores apart by in the table: task, fold, …")
    ] = "task",
    cluster: Annotated[
        str, typer.Option(help="Label whose scores are not independent: llm, family, …")
    ] = "llm",
    reference: Annotated[
        Forecaster | None,
        typer.Option(
            metavar="NAME",
            help="A forecaster: show by how much the others differ from it, row by row.",
        ),
    ] = None,
    level: Annotated[
        list[float] | None,
        typer.Option(
            help="Probability of further intervals, to count coverage by. May be repeated. "
            "[default: 0.5, 0.8, 0.9, 0.95]"
        ),
    ] = None,
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
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed, the same scores.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="File for the scores, CSV or Parquet.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="File for every held-out prediction, CSV or Parquet."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="File for the share of scores inside intervals of every --level, CSV or Parquet.",
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Hold out scores, predict them, and score what was predicted.

    **Splits**: `beyond-context=TOKENS`, `beyond-compute=FLOP`, `beyond-window[=RATIO]`,
    `longest-in-window[=SHARE]`, `rolling-context=TOKENS,TOKENS,…`, `rolling-compute=FLOP,FLOP,…`,
    `leave-out=LEVEL`

    **Forecasters**: `context-law`, `least-squares`, `least-squares-centred`,
    `least-squares-no-penalty`, `compute-only`, `no-pooling`, `complete-pooling`, `task-ladder`,
    `task-ladder-published`, `difficulty-clusters`, `difficulty-clusters-published`

    The options of the law are those of context-law, no-pooling and complete-pooling; draws, tune
    and chains those of whatever samples.

    Example: `bayes-ctxlaw backtest scores.csv --split beyond-context=10000 --in-window`
    """
    names = column_names(map_)
    folds = split_of(split, label, inside(in_window, past_window), horizon)
    wanted = forecaster or DEFAULT
    rival_options = RivalOptions(
        items=items,
        item_columns=column_names(items_map, "--items-map"),
        anchors=anchor,
        variant=ladder_variant,
        tokens_per_param=tokens_per_param,
        resamples=resamples,
    )
    rival_options.check(wanted)
    if stacked and len(set(wanted)) < 2:
        raise typer.BadParameter("needs at least two forecasters", param_hint="--stack")
    if reference is not None and (reference not in wanted or len(wanted) + stacked < 2):
        raise typer.BadParameter(
            f"name one of several forecasters; here are {', '.join(wanted)}",
            param_hint="--reference",
        )
    from bayes_ctxlaw.output import with_intervals_named, write_table
    from bayes_ctxlaw.validation.backtest import backtest as test
    from bayes_ctxlaw.validation.result import check_labels
    from bayes_ctxlaw.validation.scores import LEVELS
    from bayes_ctxlaw.validation.stacking import stack

    check_tables(out, predictions, calibration, force=force)
    obs = _law.observations(scores, names, needs_context=False)
    check_labels(obs, by=by, cluster=cluster)
    law = _law.options(
        context_term=context_term,
        compute_term=compute_term,
        penalty=penalty,
        likelihood=likelihood,
        zero_context=zero_context,
        dilution=dilution,
        discrepancy=discrepancy,
    )
    made = forecasters(wanted, law, rival_options)
    if stacked:
        made["stack"] = stack(made)
    say(f"Testing {', '.join(made)} on {obs.sizes['obs_id']} observations")
    found = test(
        made,
        obs,
        folds,
        ci_prob,
        fit_options=fit_options(
            made, {"draws": draws, "tune": tune, "chains": chains, "thin": thin}
        ),
        levels=level or LEVELS,
        random_seed=seed,
        progressbar=ERR.is_terminal,
    )
    table = found.score_table(by, cluster)
    # A name of a column is text in every kind of file.
    covered = found.calibration.rename(columns="{:g}".format)
    differences = None if reference is None else found.differences(reference, "crps", by, cluster)
    written = {
        out: (with_intervals_named(table, found.predictions.attrs), "rows of scores"),
        calibration: (covered, "rows of coverage"),
    }
    if predictions is not None:
        rows = _prediction_rows(found)
        written[predictions] = rows, "rows: every held-out score beside its predictions"
    written.pop(None, None)
    for path, (content, _) in written.items():
        write_table(content, path)
    if as_json:
        result = {
            "sentence": found.sentence(),
            "notes": found.notes,
            "random_seed": int(found.predictions.attrs["random_seed"]),
            "scores": records(table),
            "calibration": records(covered),
            "fits": records(found.fits),
        }
        print_json(result | ({} if differences is None else {"differences": records(differences)}))
        return
    text = str(found) if (by, cluster) == ("task", "llm") else _by(found, table)
    if differences is not None:
        shown = differences.round(4).to_string()
        text += f"\n\nCRPS less that of {reference.value} (negative: better)\n\n{shown}"
    OUT.print(text, markup=False, highlight=False, soft_wrap=True)
    for path, (content, meaning) in written.items():
        report_file(path, f"{len(content)} {meaning}")


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
