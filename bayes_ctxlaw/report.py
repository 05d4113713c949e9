"""One self-contained HTML page about a fit: data, law and priors, convergence, held-out scores.

Figures are part of the page, so that it can be sent or archived as a single file.
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import binom

from bayes_ctxlaw._html import STYLE, picture, section, table
from bayes_ctxlaw._version import __version__
from bayes_ctxlaw.errors import NotFittedError
from bayes_ctxlaw.judgement import (
    convergence,
    held_out_scores,
    held_out_sentence,
    inside,
    interval_name,
    values_in_words,
    verdict,
)
from bayes_ctxlaw.output import written_whole

_SHOWN_ROWS = 200

_KINDS = {
    "law": "Kind law: the intervals hold the uncertainty of the parameters.",
    "llm": "Kind llm: the intervals hold the uncertainty of the parameters and that of the "
    "checkpoint.",
    "response": "Kind response: the intervals hold the uncertainty of the parameters, that of the "
    "checkpoint, and the noise of an evaluation of n_items items.",
}


@dataclass(frozen=True)
class Figure:
    """A picture of the report.

    Attributes
    ----------
    path : path
        PNG file.
    caption : str
        Text below it; also its description for readers who do not see it.

    Examples
    --------
    >>> Figure("effects.png", "Effects of the tasks.").caption
    'Effects of the tasks.'
    """

    path: str | os.PathLike[str]
    caption: str


def write_report(
    path: str | os.PathLike[str],
    law: Any,
    *,
    held_out: xr.Dataset | None = None,
    figures: Iterable[Figure] = (),
    settings: Mapping[str, Any] | None = None,
    title: str = "Context-aware scaling law: a fit and what it predicts",
) -> Path:
    """Write one self-contained HTML page about a fit.

    Parameters
    ----------
    path : path
        The page; an earlier one is replaced once the new one is complete.
    law : ContextLaw
        Fitted.
    held_out : xr.Dataset, optional
        Prediction at observations that were not in the fit, with their ``score``.
    figures : iterable of Figure
        PNG files, put into the page.
    settings : mapping, optional
        What else to say of how the fit was made: draws, chains, seed.
    title : str

    Returns
    -------
    pathlib.Path

    Raises
    ------
    NotFittedError
        The law has not been fitted.
    FileFormatError
        The page cannot be written.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> write_report("report.html", bcl.ContextLaw())
    Traceback (most recent call last):
    ...
    bayes_ctxlaw.errors.NotFittedError: there is nothing to report yet: call law.fit(obs) first.
    """
    if law.idata is None:
        raise NotFittedError("there is nothing to report yet: call law.fit(obs) first.")
    checks = convergence(law.idata)
    body = [f"<h1>{html.escape(title)}</h1>"]
    if held_out is not None:
        body.append(f'<p class="lead">{html.escape(held_out_sentence(held_out))}</p>')
    if not checks["passed"].all():
        body.append(f'<p class="bad">{html.escape(verdict(checks))}</p>')
    body.append(section("Data", _data(law.obs, held_out)))
    body += [picture(Path(figure.path), figure.caption) for figure in figures]
    if held_out is not None:
        body.append(section("Held-out scores", _held_out(held_out)))
    body.append(section("Convergence", _convergence(checks)))
    body.append(section("Law and priors", f"<pre>{html.escape(str(law))}</pre>"))
    body.append(section("How it was made", _settings(law.idata, settings or {})))
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )
    with written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def _data(obs: xr.Dataset, held_out: xr.Dataset | None) -> str:
    """What was fitted, from where, and what was kept aside."""
    attrs = obs.attrs
    words = [f"The fit saw {obs.sizes['obs_id']} observations"]
    if attrs.get("name"):
        words.append(f"of the table “{attrs['name']}”")
    if held_out is not None:
        words.append(f"and not the {held_out.sizes['obs_id']} that it is judged by below")
    text = f"<p>{html.escape(' '.join(words))}.</p>"
    for name in ("description", "source", "licence"):
        if attrs.get(name):
            label = {"description": "Content", "source": "Source", "licence": "Terms"}[name]
            text += f'<p class="note">{label}: {html.escape(str(attrs[name]))}</p>'
    frame = obs[["task", "llm", "prompt_tokens"]].to_dataframe()
    groups = frame.groupby("task", sort=False)
    counts = pd.DataFrame(
        {
            "observations": groups.size(),
            "llms": groups["llm"].nunique(),
            "shortest_prompt": groups["prompt_tokens"].min(),
            "longest_prompt": groups["prompt_tokens"].max(),
        }
    ).reset_index()
    return text + table(counts, {"shortest_prompt": ",.0f", "longest_prompt": ",.0f"})


def _held_out(prediction: xr.Dataset) -> str:
    """Scores by task, then every held-out point with its interval."""
    summary = held_out_scores(prediction).reset_index()
    formats = {"coverage": ".0%", "mean_absolute_error": ".4f", "mean_width": ".4f"}
    points = prediction[
        ["task", "llm", "prompt_tokens", "score", "median", "lower", "upper"]
    ].to_dataframe()
    points.insert(7, "inside", np.where(inside(prediction), "yes", "no"))
    points = points.rename(columns={"score": "observed"})
    numbers = dict.fromkeys(("observed", "median", "lower", "upper"), ".4f")
    low, high = binom.interval(0.95, len(points), prediction.attrs["ci_prob"])
    kind = prediction.attrs.get("prediction_kind", "")
    text = (
        f"<p>Lower and upper are the ends of the {html.escape(interval_name(prediction))}. If the "
        f"intervals are right and the points independent, {low:.0f} to {high:.0f} of {len(points)} "
        "are inside with 95 % probability.</p>"
        f'<p class="note">{html.escape(_KINDS.get(kind, ""))}</p>'
    )
    more = len(points) - _SHOWN_ROWS
    rest = f'<p class="note">{more} further points are not shown.</p>' if more > 0 else ""
    shown = table(points.head(_SHOWN_ROWS), {"prompt_tokens": ",.0f"} | numbers)
    return text + table(summary, formats) + shown + rest


def _convergence(checks: pd.DataFrame) -> str:
    shown = checks.reset_index()
    shown["value"] = values_in_words(checks)
    shown["passed"] = np.where(checks["passed"], "yes", "no")
    return table(shown)


def _settings(idata: xr.DataTree, settings: Mapping[str, Any]) -> str:
    from importlib.metadata import version

    sizes = idata["posterior"].sizes
    rows = {"bayes_ctxlaw": __version__, "chains": sizes["chain"], "draws a chain": sizes["draw"]}
    rows |= dict(settings)
    rows |= {name: version(name) for name in ("pymc", "nutpie", "arviz")}
    frame = pd.DataFrame({"setting": list(rows), "value": [str(v) for v in rows.values()]})
    return table(frame)
