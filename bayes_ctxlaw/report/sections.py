"""Sections of a report that are text and tables."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import binom

from bayes_ctxlaw import judgement
from bayes_ctxlaw._html import bullets, paragraph, table
from bayes_ctxlaw.report import designs

_SHOWN_ROWS = 200

KINDS = {
    "law": "Kind law: the intervals hold the uncertainty of the parameters.",
    "llm": "Kind llm: the intervals hold the uncertainty of the parameters and that of the "
    "checkpoint.",
    "response": "Kind response: the intervals hold the uncertainty of the parameters, that of the "
    "checkpoint, and the noise of an evaluation of n_items items.",
}

INTERVALS = (
    paragraph(
        "An interval is equal-tailed: of the posterior draws, given the law, its priors and these "
        "scores, equally many lie below it and above it. It comes in three kinds, and each says "
        "which it is."
    )
    + bullets(KINDS.values())
    + paragraph(
        "What no interval holds: that the law itself has the wrong form, that evaluations ahead "
        "are made in another way (prompts, metric, version of the data set), and that checkpoints "
        "ahead differ from those seen in more than their labels say. The further a row lies beyond "
        "the data, the more this matters: every forecast says how far it does. A review that says "
        "FAIL is a reason not to rely on any of them."
    )
)
"""What the intervals of the report mean, as HTML."""


def data(obs: xr.Dataset, held_out: xr.Dataset | None) -> str:
    """What was fitted, from where, and what was kept aside."""
    attrs = obs.attrs
    words = [f"The fit saw {obs.sizes['obs_id']} observations"]
    if attrs.get("name"):
        words.append(f"of the table “{attrs['name']}”")
    if held_out is not None:
        words.append(f"and not the {held_out.sizes['obs_id']} that it is judged by below")
    text = paragraph(f"{' '.join(words)}.")
    for name in ("description", "source", "licence"):
        if attrs.get(name):
            label = {"description": "Content", "source": "Source", "licence": "Terms"}[name]
            text += paragraph(f"{label}: {attrs[name]}", "note")
    return text + _tasks(obs) + _checkpoints(obs)


def _tasks(obs: xr.Dataset) -> str:
    frame = obs[["task", "llm", "prompt_tokens", "score"]].to_dataframe()
    groups = frame.groupby("task", sort=False)
    counts = pd.DataFrame(
        {
            "observations": groups.size(),
            "llms": groups["llm"].nunique(),
            "shortest_prompt": groups["prompt_tokens"].min(),
            "longest_prompt": groups["prompt_tokens"].max(),
            "lowest_score": groups["score"].min(),
            "highest_score": groups["score"].max(),
        }
    ).reset_index()
    formats = dict.fromkeys(("shortest_prompt", "longest_prompt"), ",.0f")
    return table(counts, formats | dict.fromkeys(("lowest_score", "highest_score"), ".3f"))


def _checkpoints(obs: xr.Dataset) -> str:
    names = [n for n in ("llm", "family", "technique", "compute", "context_window") if n in obs]
    frame = obs[[*names, "prompt_tokens"]].to_dataframe()
    each = ["llm", "context_window"]  # of one with several windows a row for each
    groups = frame.groupby(each, sort=False)
    llms = frame[names].drop_duplicates(each).set_index(each)
    llms["longest_prompt"] = groups["prompt_tokens"].max()
    llms["observations"] = groups.size()
    llms = llms.reset_index()[[*names, "longest_prompt", "observations"]]
    llms = llms.rename(columns={"compute": "compute (FLOP)"})
    formats = dict.fromkeys(("context_window", "longest_prompt"), ",.0f")
    return _cut(llms, formats | {"compute (FLOP)": ".3g"}, "checkpoints")


def review(law: Any) -> str:
    """Every check with its verdict, and advice where it does not pass."""
    found = law.review()
    return paragraph(f"Verdict: {found.verdict}.") + table(
        found.table.reset_index(), marked="verdict"
    )


def held_out_scores_and_points(prediction: xr.Dataset) -> str:
    """Scores by task, then every held-out point with its interval."""
    summary = judgement.held_out_scores(prediction).reset_index()
    formats = {"coverage": ".0%", "mean_absolute_error": ".4f", "mean_width": ".4f"}
    points = prediction[
        ["task", "llm", "prompt_tokens", "score", "median", "lower", "upper"]
    ].to_dataframe()
    points.insert(7, "inside", np.where(judgement.inside(prediction), "yes", "no"))
    points = points.rename(columns={"score": "observed"})
    numbers = dict.fromkeys(("observed", "median", "lower", "upper"), ".4f")
    low, high = binom.interval(0.95, len(points), prediction.attrs["ci_prob"])
    text = paragraph(
        f"Lower and upper are the ends of the {judgement.interval_name(prediction)}. If the "
        f"intervals are right and the points independent, {low:.0f} to {high:.0f} of {len(points)} "
        "are inside with 95 % probability."
    )
    text += paragraph(KINDS.get(prediction.attrs.get("prediction_kind", ""), ""), "note")
    return text + table(summary, formats) + _cut(points, {"prompt_tokens": ",.0f"} | numbers)


_OF_A_NEW_ONE = (
    " Rows of a new checkpoint have ten times the largest compute and otherwise what the largest "
    "one of the task has; where several are as large, one row for each family and technique of "
    "those with the widest window."
)


def extrapolation(law: Any, cells: pd.DataFrame, ci_prob: float) -> str:
    """Forecasts at places beyond the data, and how far beyond they are."""
    at = designs.beyond_data(cells, law.obs)
    if at is None:
        return paragraph(
            "All checkpoints have about the same compute, and were given prompts up to their "
            "windows: there is no place beyond the data to forecast."
        )
    found = law.predict(at, kind="response", ci_prob=ci_prob, new_levels="uncertainty")
    labels = [name for name in ("task", "llm", "family", "technique") if name in found]
    names = [*labels, "compute", "context_window", "prompt_tokens", "median", "lower", "upper"]
    rows = found[names].to_dataframe().rename(columns={"compute": "compute (FLOP)"})
    rows["decades beyond the data"] = _beyond(found["extrapolation"])
    text = paragraph(
        f"Lower and upper are the ends of the {judgement.interval_name(found)}. One decade "
        "beyond the data is ten times as much as the fit saw."
        + (_OF_A_NEW_ONE if (found["llm"] == designs.NEW_LLM).any() else "")
    )
    formats = {"compute (FLOP)": ".3g"} | dict.fromkeys(("context_window", "prompt_tokens"), ",.0f")
    formats |= dict.fromkeys(("median", "lower", "upper"), ".3f")
    return text + _cut(rows, formats)


def _beyond(extrapolation: xr.DataArray) -> list[str]:
    """Of each row the axes along which it lies beyond the data, and how far."""
    values = extrapolation.transpose("obs_id", "axis")
    names = [str(axis).replace("_", " ") for axis in values["axis"].values]
    return [
        ", ".join(f"{name} {far:.2f}" for name, far in zip(names, row, strict=True) if far > 0)
        for row in values.values
    ]


def comparison(found: Any) -> str:
    """A contrast in words, with what the observations cannot tell apart."""
    return (
        f"<h3>{html.escape(found.a)} and {html.escape(found.b)}</h3>\n"
        + paragraph(found.sentence)
        + paragraph(found.held_equal, "note")
        + bullets(found.confounding.notes)
    )


def _cut(frame: pd.DataFrame, formats: dict[str, str], what: str = "points") -> str:
    """The first rows of a long table, and how many there are besides."""
    more = len(frame) - _SHOWN_ROWS
    rest = paragraph(f"{more} further {what} are not shown.", "note") if more > 0 else ""
    return table(frame.head(_SHOWN_ROWS), formats) + rest
