"""Figures of a report, drawn from predictions and put into the page as SVG."""

from __future__ import annotations

import io
import os
from typing import Any

import pandas as pd
import xarray as xr

from bayes_ctxlaw._html import paragraph, picture
from bayes_ctxlaw.judgement import interval_name
from bayes_ctxlaw.report import designs

_UNCONNECTED = {"svg.hashsalt": "bayes_ctxlaw"}  # the same drawing, the same file


def context_curves(
    law: Any, cells: pd.DataFrame, held_out: xr.Dataset | None, ci_prob: float
) -> str:
    """Score against prompt length, a panel for each task."""
    from bayes_ctxlaw.plots import plot_context_curve

    seen = _marked(law.obs, held_out)
    drawn = ""
    for some, left_out in designs.context_figures(cells):
        curves = law.predict(designs.along_prompts(some), kind="response", ci_prob=ci_prob)
        points = seen.isel(obs_id=pd.Series(seen["llm"].values).isin(some["llm"]).to_numpy())
        caption = (
            f"Score against prompt tokens: posterior median and {interval_name(curves)}. Dashed: "
            "beyond the data. Dotted: context windows."
        )
        if held_out is not None:
            caption += " Open points were not in the fit."
        if left_out:
            shown = some["llm"].nunique()
            caption += (
                f" {shown} of {shown + left_out} checkpoints are drawn, from the least compute to "
                "the most."
            )
        drawn += _drawing(plot_context_curve(curves, points, held_out="held_out"), caption)
    return drawn


def compute_curves(law: Any, ci_prob: float) -> str:
    """Score of a new checkpoint against compute, a panel for each task."""
    from bayes_ctxlaw.plots import plot_compute_curve

    found = designs.along_compute(law.obs)
    if found is None:
        return paragraph(
            "All checkpoints have about the same training compute: there is no such curve."
        )
    design, near, left_out = found
    prediction = law.predict(design, kind="response", ci_prob=ci_prob, new_levels="uncertainty")
    by = "family" if "family" in design else None
    caption = (
        "Score of a new checkpoint against training compute, each task at the prompt length that "
        f"most checkpoints share: posterior median and {interval_name(prediction)}. Points are "
        "scores near that length, whatever their technique and window. Dashed: beyond the data."
    )
    if left_out:
        caption += f" Families that are not drawn, with few values of compute: {left_out}."
    tasks, drawn = list(dict.fromkeys(design["task"].values)), ""
    for start in range(0, len(tasks), 9):
        chosen = tasks[start : start + 9]
        curves, points = (
            part.isel(obs_id=pd.Series(part["task"].values).isin(chosen).to_numpy())
            for part in (prediction, near)
        )
        drawn += _drawing(plot_compute_curve(curves, points, by=by), caption)
    return drawn


def contrast_curve(found: Any) -> str:
    """Difference of two techniques along prompt length."""
    from bayes_ctxlaw.contrasts import spoken
    from bayes_ctxlaw.plots import plot_contrast

    a, b = spoken(found.a), spoken(found.b)
    caption = (
        f"Score of {a} less that of {b}, the average over tasks: posterior median and "
        f"{interval_name(found.curve)}. Above the axis: the probability that {a} scores higher."
    )
    return _drawing(plot_contrast(found), caption)


def _marked(obs: xr.Dataset, held_out: xr.Dataset | None) -> xr.Dataset:
    """Observations of the fit and those kept aside, told apart by ``held_out``."""
    parts = []
    for rows, aside in ((obs, False), (held_out, True)):
        if rows is not None:
            frame = rows[["task", "llm", "prompt_tokens", "score"]].to_dataframe()
            parts.append(frame.assign(held_out=aside))
    return xr.Dataset.from_dataframe(pd.concat(parts, ignore_index=True).rename_axis("obs_id"))


def _drawing(axes: Any, caption: str) -> str:
    import matplotlib.pyplot as plt

    figure, file = axes[0].figure, io.BytesIO()
    with plt.rc_context(_UNCONNECTED):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return picture(file.getvalue().replace(os.linesep.encode(), b"\n"), caption)
