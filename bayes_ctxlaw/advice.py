"""What the checks of a review found, each as a verdict and a sentence of advice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw.judgement import DIVERGENCES, R_HAT, convergence, sampled, values_in_words
from bayes_ctxlaw.prior_influence import CONFLICT, STRONG_PRIOR
from bayes_ctxlaw.priors import Prior
from bayes_ctxlaw.residuals import Alike
from bayes_ctxlaw.schema import OBS_DIM

VERDICTS = ("PASS", "REVIEW", "FAIL")
"""From best to worst."""

MIN_P = 0.01
"""Of the test of LOO-PIT, as in ArviZ's plots."""

MIN_SHRINKAGE = 0.5
"""Below it the prior holds more than half of the precision: it tells more than the data."""

_INFORMED_BY = {
    "A": "scores at prompts so long that only compute limits them",
    "alpha": "checkpoints of other training compute",
    "B": "prompts of more lengths",
    "beta": "prompts of more lengths inside the window",
    "rho": "very short prompts",
    "D": "long prompts well inside the window",
    "psi": "long prompts well inside the window, of checkpoints of other training compute",
    "eta": "long prompts well inside the window",
    "kappa": "prompts near the context window and past it",
    "delta": "prompts near the context window and past it",
}

_NOT_CONVERGED = {
    R_HAT: "The chains disagree, most about {worst}: fit again with larger `tune` and "
    "`draws`, and if that does not help, narrow its prior{simpler} or take a level out of "
    "`groups`.",
    "smallest bulk effective sample size": "Neighbouring draws are too much alike: fit again with "
    "more `draws` or a larger `thin`.",
    "smallest tail effective sample size": "The ends of the intervals rest on too few independent "
    "draws: fit again with more `draws` or a larger `thin`.",
    "lowest E-BFMI": "The chains move too slowly between the centre and the tails, often where a "
    "scale is close to 0: narrow the prior of the scale of a level with few labels, or take that "
    "level out of `groups`.",
    DIVERGENCES: "The sampler could not follow the posterior everywhere: fit again with a larger "
    "`target_accept`, such as 0.999, and if that does not help, narrow the widest priors.",
    "transitions at the largest tree depth": "The sampler was stopped before it could turn round: "
    "fit again with a larger `tune`, and if that does not help, narrow the widest priors.",
}

_SINGLE_CHAIN = (
    "A single chain has no other to agree with, so nothing tells whether it found all of the "
    "posterior: fit again with `chains` of at least 2, better 4."
)

Row = tuple[str, str, str, str, str]
"""Check, verdict, value, what is wanted, advice."""


def of_convergence(idata: xr.DataTree) -> list[Row]:
    """Checks of convergence, the only ones that can FAIL."""
    checks, rows = convergence(idata), []
    # Whether a bend is of the law or of the task, chains may each decide in their own way.
    simpler = ', fit with `discrepancy` "none"' if "discrepancy_sd" in idata["posterior"] else ""
    for (name, row), value in zip(checks.iterrows(), values_in_words(checks), strict=True):
        verdict, advice = "PASS", "Nothing to do."
        if not row["passed"]:
            advice = _NOT_CONVERGED[name].format(worst=_least_agreed(idata), simpler=simpler)
            verdict = "FAIL"
            if name == R_HAT and idata["posterior"].sizes["chain"] == 1:
                advice = _SINGLE_CHAIN
        rows.append((name, verdict, value, row["wanted"], advice))
    return rows


def _least_agreed(idata: xr.DataTree) -> str:
    """Variable with the largest R-hat, or one for which there is none."""
    with np.errstate(all="ignore"):
        r_hat = az.rhat(sampled(idata))
    worst = {name: float(v.max(skipna=False)) for name, v in r_hat.data_vars.items()}
    return max(worst, key=lambda name: (np.isnan(worst[name]), worst[name]))


def of_pareto_k(points: pd.DataFrame, good_k: float) -> Row:
    """Whether leave-one-out estimates by importance sampling hold."""
    bad = points[~(points["pareto_k"] <= good_k)].sort_values("pareto_k", ascending=False)
    verdict, advice = "PASS", "Leave-one-out estimates such as az.loo(law.idata) hold."
    if len(bad):
        verdict = "REVIEW"
        advice = (
            "Each of these scores decides something by itself, so look for errors in them, and "
            "compare laws by bcl.backtest instead of leave-one-out estimates: "
            f"{_some(_row_name(row) for row in bad.itertuples())}."
        )
    value = f"{len(bad)} of {len(points)} rows above"
    return "Pareto k of leave-one-out", verdict, value, f"none above {good_k:.2f}", advice


def _row_name(row: Any) -> str:
    return f"{row.llm} on {row.task} at {row.prompt_tokens:,.0f} tokens"


def of_loo_pit(pit: pd.Series) -> Row:
    """Whether scores lie among predictions made without them as they should."""
    tested = xr.Dataset({"pit": (OBS_DIM, pit.to_numpy())})
    p_value = float(tested.azstats.uniformity_test(dim=OBS_DIM)[0]["pit"])
    verdict, advice = "PASS", "Scores lie where predictions made without them expect them."
    if not p_value >= MIN_P:
        # Standard errors of the mean and of the mean distance from 1/2, were they uniform.
        high = (pit.mean() - 0.5) * np.sqrt(12 * len(pit))
        wide = ((pit - 0.5).abs().mean() - 0.25) * np.sqrt(48 * len(pit))
        verdict, text = "REVIEW", f"a few scores lie far out (rows {_some(_furthest(pit))})"
        if max(abs(high), abs(wide)) > 2.5:
            by_level = "above" if high > 0 else "below"
            by_width = "farther from" if wide > 0 else "nearer to"
            text = f"scores lie {by_level} their predictions too often"
            if abs(wide) > abs(high):
                text = f"scores lie {by_width} their predictions than the intervals say"
        advice = (
            f"By predictions made without them, {text}: check those rows, or try another "
            "`context_term`, `compute_term` or `likelihood`."
        )
    return "LOO-PIT, test of uniformity", verdict, f"p = {p_value:.2g}", f"p ≥ {MIN_P:g}", advice


def _furthest(pit: pd.Series) -> Iterable[str]:
    return (str(label) for label in (pit - 0.5).abs().sort_values(ascending=False).index[:3])


def of_residuals(found: Alike, strays: bool = False) -> Row:
    """Whether scores at nearly the same prompt length miss the law alike; `strays`: as it may."""
    verdict, advice = "PASS", "Scores at nearly the same prompt length miss the law each by itself."
    value = f"I = {found.share:.2f}, p = {found.p_value:.2g}"
    if np.isnan(found.share):
        value = "no two of a task are so near"
        advice = "Nothing to compare: add checkpoints at the prompt lengths of others."
    elif not found.p_value >= MIN_P:
        verdict = "REVIEW"
        other = "another `context_term`"
        if not strays:
            other = f"`discrepancy='prompt_tokens'`, or {other}"
        advice = (
            f"Scores bend where the law does not, most on {found.task}: together they lie below it "
            f"around {found.low:,.0f} tokens and above it around {found.high:,.0f}. Beyond the "
            f"longest prompts its intervals may be too narrow: try {other}, and see what holds in "
            "bcl.backtest with bcl.splits.rolling_context."
        )
    return "misses alike at neighbouring prompts", verdict, value, f"p ≥ {MIN_P:g}", advice


def of_sensitivity(parameters: pd.DataFrame, priors: Mapping[str, Prior]) -> Row:
    """Whether somewhat other priors would change the answer."""
    moved = parameters[parameters["diagnosis"] != ""]
    verdict, advice = "PASS", "Somewhat other priors would give much the same answer."
    if len(moved):
        verdict = "REVIEW"
        (name, _), worst = moved["prior"].idxmax(), moved.loc[moved["prior"].idxmax()]
        low, high = priors[name].interval
        reason = {
            CONFLICT: "which may disagree with the data",
            STRONG_PRIOR: "where the data say little",
        }[worst["diagnosis"]]
        advice = (
            f"The answer moves with the priors of {_parameters(moved, parameters)}, most with that "
            f"of {name}, {reason}: see whether {low:.2g} to {high:.2g} with 90 % is what you "
            f"believe of {name}, and whether your forecast holds with another prior."
        )
    value = f"{len(moved)} of {len(parameters)}"
    return "prior sensitivity, power scaling", verdict, value, "none", advice


def of_prior_weight(parameters: pd.DataFrame, notes: list[str]) -> Row:
    """Of which parameters the prior tells more than the data."""
    decided = parameters[~(parameters["shrinkage"] >= MIN_SHRINKAGE)]
    verdict, advice = "PASS", "The data tell more of every parameter than its prior does."
    if len(decided):
        names = dict.fromkeys(decided.index.get_level_values("parameter"))
        needed = dict.fromkeys(_INFORMED_BY.get(name, "more scores") for name in names)
        joined = (" and " if len(needed) < 3 else "; ").join(needed)
        advice = (
            f"Of {_parameters(decided, parameters)} the prior tells more than the data: evaluate "
            f"{joined}, or state a prior that you can defend."
        )
    if len(decided) or notes:
        verdict = "REVIEW"
        advice = " ".join([advice] * bool(len(decided)) + notes)
    value = f"{len(decided)} of {len(parameters)}"
    if notes and not len(decided):
        value += ", but see the design"
    return "parameters that the prior decides", verdict, value, "none", advice


def _parameters(some: pd.DataFrame, parameters: pd.DataFrame) -> str:
    """Parameters by name, each with its labels unless all of them are meant."""
    found = []
    for name, rows in some.groupby(level="parameter", sort=False):
        labels = rows.index.get_level_values("label")
        every = len(parameters.loc[name])
        text = f"all {every}" if len(labels) == every else _some(labels)
        found.append(f"{name} ({text})" if every > 1 else str(name))
    return ", ".join(found)


def _some(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def of_chance(notes: list[str]) -> list[Row]:
    """A row where scores that should not be are below chance; else none."""
    if not notes:
        return []
    return [
        (
            "scores against chance",
            "REVIEW",
            f"{len(notes)} task{'s' if len(notes) > 1 else ''} below",
            "above it inside the window",
            " ".join(notes),
        )
    ]
