"""``bayes-ctxlaw fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bayes_ctxlaw.cli import _law
from bayes_ctxlaw.cli._common import (
    ERR,
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


@reports_errors
def fit(
    scores: _law.Scores,
    out: Annotated[Path, typer.Option(metavar="FIT.nc", help="File for the fit.")],
    map_: Mapping = None,
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
    target_accept: Annotated[
        float | None,
        typer.Option(help="Target acceptance. [default: 0.95; 0.99, then 0.998 after divergences]"),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed, the same draws.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Fit the law to scores and save the fit.

    Ctrl-C ends the sampling; what was drawn after the tuning is saved.

    Example: `bayes-ctxlaw fit scores.csv --map llm=model --map prompt_tokens=n_pmt --out fit.nc`
    """
    names = column_names(map_)
    if target_accept is not None and not 0 < target_accept < 1:
        raise typer.BadParameter(
            f"{target_accept:g} does not lie between 0 and 1, such as 0.95",
            param_hint="--target-accept",
        )
    check_output(out, force)
    obs = _law.observations(scores, names)
    from bayes_ctxlaw.context_law import ContextLaw

    law = ContextLaw(
        **_law.options(
            context_term=context_term,
            compute_term=compute_term,
            penalty=penalty,
            likelihood=likelihood,
            zero_context=zero_context,
            dilution=dilution,
            discrepancy=discrepancy,
        )
    )
    number = "1 chain" if chains == 1 else f"{chains} chains"
    say(f"Fitting {obs.sizes['obs_id']} observations: {number} of {tune} + {draws} draws")
    try:
        law.fit(
            obs,
            draws=draws,
            tune=tune,
            chains=chains,
            thin=thin,
            target_accept=target_accept,
            random_seed=seed,
            progressbar=ERR.is_terminal,
        )
    except KeyboardInterrupt:
        if law.idata is not None:
            _save(law, out, as_json)
        raise
    _save(law, out, as_json)


def _save(law: Any, out: Path, as_json: bool) -> None:
    from bayes_ctxlaw.judgement import convergence, verdict

    law.save(out)
    checks = convergence(law.idata)
    if as_json:
        posterior = law.idata["posterior"]
        sizes = {"chains": posterior.sizes["chain"], "draws": posterior.sizes["draw"]}
        passed = {"passed": bool(checks["passed"].all()), "checks": records(checks)}
        interrupted = {"interrupted": "interrupted" in posterior.attrs}
        rows = {"observations": law.obs.sizes["obs_id"]}
        print_json({"fit": str(out)} | rows | sizes | interrupted | passed)
        return
    for check, row in checks.iterrows():
        say(f"  {check}: {row['value']:.4g} (wanted: {row['wanted']})")
    say(verdict(checks))
    report_file(out, "the fit, for bayes-ctxlaw predict or ContextLaw.load")
