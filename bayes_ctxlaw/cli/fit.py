"""``bayes-ctxlaw fit``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bayes_ctxlaw.cli._common import (
    DATASET_PREFIX,
    ERR,
    Chains,
    Draws,
    Force,
    Mapping,
    Tune,
    check_output,
    column_names,
    report_file,
    reports_errors,
    say,
)
from bayes_ctxlaw.law import PENALTIES, SATURATIONS, LawTerms
from bayes_ctxlaw.likelihoods import LIKELIHOODS

Saturation = StrEnum("Saturation", {name: name for name in SATURATIONS})
Penalty = StrEnum("Penalty", {name: name for name in PENALTIES})
Likelihood = StrEnum("Likelihood", {name: name for name in ("auto", *LIKELIHOODS)})

_DEFAULT = LawTerms()
_CONTEXT = Saturation(_DEFAULT.context_term)
_COMPUTE = Saturation(_DEFAULT.compute_term)
_PENALTY = Penalty(_DEFAULT.penalty)


@reports_errors
def fit(
    scores: Annotated[
        str,
        typer.Argument(
            metavar="SCORES",
            help="CSV or Parquet file of scores, or dataset:NAME for a bundled one.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FIT.nc", help="File for the fit.")],
    map_: Mapping = None,
    context_term: Annotated[
        Saturation, typer.Option(help="Approach to the ceiling with prompt length.")
    ] = _CONTEXT,
    compute_term: Annotated[
        Saturation, typer.Option(help="Approach to the ceiling with compute.")
    ] = _COMPUTE,
    penalty: Annotated[
        Penalty, typer.Option(help="What happens where the prompt outgrows the window.")
    ] = _PENALTY,
    likelihood: Annotated[
        Likelihood, typer.Option(help="Observation model; auto chooses by the scores.")
    ] = Likelihood.auto,
    draws: Draws = 1000,
    tune: Tune = 1000,
    chains: Chains = 4,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed, the same draws.")] = None,
    force: Force = False,
) -> None:
    """Fit the law to scores and save the fit.

    Example: `bayes-ctxlaw fit scores.csv --map llm=model --map prompt_tokens=n_pmt --out fit.nc`
    """
    names = column_names(map_)
    check_output(out, force)
    obs = _observations(scores, names)
    from bayes_ctxlaw.context_law import ContextLaw

    law = ContextLaw(
        context_term=context_term.value,
        compute_term=compute_term.value,
        penalty=penalty.value,
        likelihood=likelihood.value,
    )
    say(f"Fitting {obs.sizes['obs_id']} observations: {chains} chains of {tune} + {draws} draws")
    law.fit(
        obs,
        draws=draws,
        tune=tune,
        chains=chains,
        random_seed=seed,
        progressbar=ERR.is_terminal,
    )
    law.save(out)
    _say_convergence(law)
    report_file(out, "the fit, for bayes-ctxlaw predict or ContextLaw.load")


def _observations(scores: str, names: dict[str, str]) -> Any:
    from bayes_ctxlaw.datasets import load_dataset
    from bayes_ctxlaw.observations import as_observations

    if not scores.startswith(DATASET_PREFIX):
        return as_observations(scores, **names)
    if names:
        raise typer.BadParameter("a bundled table needs no mapping", param_hint="--map")
    return load_dataset(scores.removeprefix(DATASET_PREFIX))


def _say_convergence(law: Any) -> None:
    from bayes_ctxlaw.judgement import convergence, verdict

    checks = convergence(law.idata)
    for check, row in checks.iterrows():
        say(f"  {check}: {row['value']:.4g} (wanted: {row['wanted']})")
    say(verdict(checks))
