"""One self-contained HTML page about a fit: data, law and priors, convergence, held-out scores.

Figures are part of the page, so that it can be sent or archived as a single file.
"""

from __future__ import annotations

import base64
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

from bayes_ctxlaw._version import __version__
from bayes_ctxlaw.errors import NotFittedError, SpecificationError
from bayes_ctxlaw.law import PARAMETERS
from bayes_ctxlaw.output import written_whole

MAX_R_HAT = 1.01
MIN_ESS = 400
_SHOWN_ROWS = 200

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
       max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: 0; } h2 { font-size: 1.25rem; margin-top: 2.2rem; }
.lead { font-size: 1.15rem; } .note, figcaption { color: #555; font-size: 0.92rem; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
table { border-collapse: collapse; margin: 0.8rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.9rem 0.2rem 0; text-align: left; border-bottom: 1px solid #ddd; }
td.number, th.number { text-align: right; } .wide { overflow-x: auto; }
pre { background: #f6f6f6; padding: 0.8rem; overflow-x: auto; font-size: 0.85rem; }
.bad { color: #a02000; font-weight: 600; }
"""


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


def convergence(idata: xr.DataTree) -> pd.DataFrame:
    """Check whether the chains of a fit agree and hold enough independent draws.

    Parameters
    ----------
    idata : xarray.DataTree
        From ``law.fit``.

    Returns
    -------
    pandas.DataFrame
        Index: the check. Columns ``value``, ``wanted`` (text) and ``passed``. R-hat and effective
        sample sizes are the worst over population values, scales, effects and overdispersion;
        an element that they cannot be computed for counts as failed.

    References
    ----------
    Vehtari et al. (2021), doi:10.1214/20-BA1221.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> draws = np.random.default_rng(1).normal(size=(4, 500))
    >>> posterior = xr.Dataset({"mu_A": (("chain", "draw"), draws)})
    >>> stats = xr.Dataset({"diverging": (("chain", "draw"), np.zeros((4, 500), bool))})
    >>> tree = xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})
    >>> bool(convergence(tree)["passed"].all())
    True
    """
    import arviz as az

    posterior = idata["posterior"].to_dataset()
    # A … delta are functions of the others, and there may be very many of them.
    posterior = posterior.drop_vars([name for name in PARAMETERS if name in posterior])
    stats = idata["sample_stats"].to_dataset()
    with np.errstate(all="ignore"):
        r_hat = _worst(az.rhat(posterior), posterior, np.max)
        bulk = _worst(az.ess(posterior, method="bulk"), posterior, np.min)
        tail = _worst(az.ess(posterior, method="tail"), posterior, np.min)
    rows = [
        ("largest R-hat", r_hat, f"below {MAX_R_HAT:g}", r_hat < MAX_R_HAT),
        ("smallest bulk effective sample size", bulk, f"above {MIN_ESS}", bulk > MIN_ESS),
        ("smallest tail effective sample size", tail, f"above {MIN_ESS}", tail > MIN_ESS),
    ]
    for name, text in (
        ("diverging", "divergent transitions"),
        ("reached_max_treedepth", "transitions at the largest tree depth"),
    ):
        if name in stats:
            count = int(stats[name].sum())
            rows.append((text, count, "0", count == 0))
    return pd.DataFrame(rows, columns=["check", "value", "wanted", "passed"]).set_index("check")


def _worst(values: xr.Dataset, posterior: xr.Dataset, worst: Any) -> float:
    """The worst element; NaN if one cannot be computed, unless it is the same in every draw."""
    found = []
    for name, value in values.data_vars.items():
        draws = posterior[name]
        moves = (draws.max(("chain", "draw")) > draws.min(("chain", "draw"))) | draws.isnull().any(
            ("chain", "draw")
        )
        found.append(value.values[moves.values])
    return float(worst(np.concatenate([np.ravel(v) for v in found])))


def held_out_scores(prediction: xr.Dataset) -> pd.DataFrame:
    """Compare predictions with the scores that were then observed, by task and in all.

    Parameters
    ----------
    prediction : xr.Dataset
        From ``law.predict`` at observations that were not in the fit, so that it has ``score``.

    Returns
    -------
    pandas.DataFrame
        Index ``task``, last ``all tasks``. Columns ``points``; ``covered``, those inside their
        interval; ``coverage``, their share; ``mean_absolute_error`` of the median; ``mean_width``
        of the intervals.

    Raises
    ------
    SpecificationError
        The prediction has no scores to compare with.

    Examples
    --------
    >>> import xarray as xr
    >>> values = {"task": ["qa", "qa"], "score": [0.5, 0.9], "median": [0.4, 0.5],
    ...           "lower": [0.3, 0.4], "upper": [0.6, 0.7]}
    >>> scores = held_out_scores(xr.Dataset({k: ("obs_id", v) for k, v in values.items()}))
    >>> int(scores.loc["all tasks", "covered"]), float(scores.loc["qa", "mean_absolute_error"])
    (1, 0.25)
    """
    if "score" not in prediction:
        raise SpecificationError(
            "the prediction has no `score` to compare with: predict at the held-out observations."
        )
    rows = prediction[["task", "score", "median", "lower", "upper"]].to_dataframe()
    unscored = int(rows["score"].isna().sum())
    if unscored or rows.empty:
        raise SpecificationError(
            f"{unscored} of {len(rows)} predictions have no score to compare with; select those "
            "that have one."
        )
    rows["covered"] = inside(prediction)
    rows["mean_absolute_error"] = (rows["score"] - rows["median"]).abs()
    rows["mean_width"] = rows["upper"] - rows["lower"]
    rows = pd.concat([rows, rows.assign(task="all tasks")])
    groups = rows.groupby("task", sort=False)
    table = groups[["mean_absolute_error", "mean_width"]].mean()
    table.insert(0, "points", groups.size())
    table.insert(1, "covered", groups["covered"].sum().astype(int))
    table.insert(2, "coverage", groups["covered"].mean())
    return table


def inside(prediction: xr.Dataset) -> np.ndarray:
    """Which observed scores lie inside their interval, ends included."""
    score = prediction["score"].values
    return (score >= prediction["lower"].values) & (score <= prediction["upper"].values)


def interval_name(prediction: xr.Dataset) -> str:
    """Interval and kind of a prediction in words: "90 % equal-tailed interval (response)"."""
    attrs = prediction.attrs
    text = f"{100 * attrs['ci_prob']:g} % {attrs.get('ci_kind', '')} interval"
    return " ".join(text.split()) + f" ({attrs.get('prediction_kind', 'prediction')})"


def held_out_sentence(prediction: xr.Dataset) -> str:
    """Say in one sentence how a prediction fared against the observed scores.

    Parameters
    ----------
    prediction : xr.Dataset
        As for `held_out_scores`.

    Returns
    -------
    str
    """
    total = held_out_scores(prediction).loc["all tasks"]
    return (
        f"{total['covered']:.0f} of {total['points']:.0f} held-out scores lie inside their "
        f"{interval_name(prediction)}; the median is off by {total['mean_absolute_error']:.4f} on "
        f"average, and the mean width of the intervals is {total['mean_width']:.4f} (scores run "
        "from 0 to 1)."
    )


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
        failed = ", ".join(checks.index[~checks["passed"]])
        body.append(
            f'<p class="bad">The fit does not pass: {html.escape(failed)}. Do not rely on its '
            "intervals; fit again with more draws and tuning.</p>"
        )
    body.append(_section("Data", _data(law.obs, held_out)))
    body += [_picture(figure) for figure in figures]
    if held_out is not None:
        body.append(_section("Held-out scores", _held_out(held_out)))
    body.append(_section("Convergence", _convergence(checks)))
    body.append(_section("Law and priors", f"<pre>{html.escape(str(law))}</pre>"))
    body.append(_section("How it was made", _settings(law.idata, settings or {})))
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )
    with written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def _section(title: str, content: str) -> str:
    return f"<h2>{html.escape(title)}</h2>\n{content}"


def _table(frame: pd.DataFrame, formats: Mapping[str, str] | None = None) -> str:
    """A table; `formats` says how the numbers of a column are written."""
    formats = formats or {}
    numeric = {name: pd.api.types.is_numeric_dtype(frame[name]) for name in frame}
    numeric |= dict.fromkeys(formats, True)
    head = "".join(_cell("th", str(name).replace("_", " "), numeric[name]) for name in frame)
    rows = []
    for row in frame.itertuples(index=False):
        cells = []
        for name, value in zip(frame.columns, row, strict=True):
            text = format(value, formats[name]) if name in formats else str(value)
            cells.append(_cell("td", text, numeric[name]))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    body = "\n".join(rows)
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'


def _cell(tag: str, text: str, number: bool) -> str:
    kind = ' class="number"' if number else ""
    return f"<{tag}{kind}>{html.escape(text)}</{tag}>"


def _picture(figure: Figure) -> str:
    data = base64.b64encode(Path(figure.path).read_bytes()).decode("ascii")
    caption = html.escape(figure.caption, quote=True)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _data(obs: xr.Dataset, held_out: xr.Dataset | None) -> str:
    """What was fitted, from where, and what was kept aside."""
    attrs = obs.attrs
    words = [f"The fit saw {obs.sizes['obs_id']} observations"]
    if attrs.get("name"):
        words.append(f"of the bundled table “{attrs['name']}”")
    if held_out is not None:
        words.append(f"and not the {held_out.sizes['obs_id']} that it is judged by below")
    text = f"<p>{html.escape(' '.join(words))}.</p>"
    for name in ("description", "source", "licence"):
        if attrs.get(name):
            label = {"description": "Content", "source": "Source", "licence": "Terms"}[name]
            text += f'<p class="note">{label}: {html.escape(str(attrs[name]))}</p>'
    frame = obs[["task", "llm", "prompt_tokens"]].to_dataframe()
    groups = frame.groupby("task", sort=False)
    table = pd.DataFrame(
        {
            "observations": groups.size(),
            "llms": groups["llm"].nunique(),
            "shortest_prompt": groups["prompt_tokens"].min(),
            "longest_prompt": groups["prompt_tokens"].max(),
        }
    ).reset_index()
    return text + _table(table, {"shortest_prompt": ",.0f", "longest_prompt": ",.0f"})


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
    text = (
        f"<p>Lower and upper are the ends of the {html.escape(interval_name(prediction))}. If the "
        f"intervals are right and the points independent, {low:.0f} to {high:.0f} of {len(points)} "
        "are inside with 95 % probability.</p>"
    )
    more = len(points) - _SHOWN_ROWS
    rest = f'<p class="note">{more} further points are not shown.</p>' if more > 0 else ""
    shown = _table(points.head(_SHOWN_ROWS), {"prompt_tokens": ",.0f"} | numbers)
    return text + _table(summary, formats) + shown + rest


def _convergence(checks: pd.DataFrame) -> str:
    table = checks.reset_index()
    table["value"] = [
        f"{v:.0f}" if name != "largest R-hat" else f"{v:.4f}" for name, v in checks["value"].items()
    ]
    table["passed"] = np.where(checks["passed"], "yes", "no")
    return _table(table)


def _settings(idata: xr.DataTree, settings: Mapping[str, Any]) -> str:
    from importlib.metadata import version

    sizes = idata["posterior"].sizes
    rows = {"bayes_ctxlaw": __version__, "chains": sizes["chain"], "draws a chain": sizes["draw"]}
    rows |= dict(settings)
    rows |= {name: version(name) for name in ("pymc", "nutpie", "arviz")}
    frame = pd.DataFrame({"setting": list(rows), "value": [str(v) for v in rows.values()]})
    return _table(frame)
