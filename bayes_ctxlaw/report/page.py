"""The page: its sections in their order, and what each is made from."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw._html import page, paragraph, picture, section
from bayes_ctxlaw.confounding import confounding
from bayes_ctxlaw.errors import FileFormatError, NotFittedError, SpecificationError
from bayes_ctxlaw.judgement import convergence, held_out_sentence, verdict
from bayes_ctxlaw.output import written_whole
from bayes_ctxlaw.predict import check_law, check_options
from bayes_ctxlaw.report import designs, pictures, sections
from bayes_ctxlaw.report.reproduce import reproduction
from bayes_ctxlaw.schema import OBS_DIM, PREDICTED

_PNG = b"\x89PNG\r\n\x1a\n"


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
    ci_prob: float = 0.9,
    title: str = "Context-aware scaling law: a fit and what it predicts",
) -> Path:
    """Write one self-contained HTML page about a fit.

    It holds the data, the review of the fit, curves along prompt length and compute, forecasts
    beyond the data, contrasts of techniques where the fit has effects of two or more, what the
    intervals mean, and how to make the fit again.

    Parameters
    ----------
    path : path
        The page; an earlier one is replaced once the new one is complete.
    law : ContextLaw
        Fitted. Its ``idata`` gets the groups that ``law.review`` adds.
    held_out : xr.Dataset, optional
        Prediction at observations that were not in the fit, with their ``score``: what
        ``law.predict(observations)`` returns.
    figures : iterable of Figure
        Further PNG files, put into the page.
    settings : mapping, optional
        What else to say of how the fit was made.
    ci_prob : float
        Probability of the equal-tailed intervals; those of `held_out` are as they are.
    title : str

    Returns
    -------
    pathlib.Path

    Raises
    ------
    NotFittedError
        The law has not been fitted.
    SpecificationError
        `ci_prob` is out of range, or `held_out` is no prediction or holds rows of the fit.
    FileFormatError
        The page cannot be written, or a figure is no PNG file.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> write_report("report.html", bcl.ContextLaw())
    Traceback (most recent call last):
    ...
    bayes_ctxlaw.errors.NotFittedError: there is nothing to report yet: call law.fit(obs) first.
    """
    check_law(law, "a report", "review")
    if law.idata is None:
        raise NotFittedError("there is nothing to report yet: call law.fit(obs) first.")
    check_options("response", ci_prob, "error")
    figures = list(figures)
    _check_figures(figures)
    if held_out is not None:
        _check_held_out(law.obs, held_out)
    checks = convergence(law.idata)
    head = f"<h1>{html.escape(title)}</h1>\n"
    if held_out is not None:
        head += paragraph(held_out_sentence(held_out), "lead")
    interrupted = law.idata["posterior"].attrs.get("interrupted")
    if interrupted:
        head += paragraph(f"{interrupted[0].upper()}{interrupted[1:]}.", "bad")
    if not checks["passed"].all():
        head += paragraph(verdict(checks), "bad")
    parts = _parts(law, held_out, figures, settings or {}, ci_prob)
    anchors = {name: name.lower().replace(" ", "-") for name in parts}
    links = "".join(f'<a href="#{anchors[name]}">{html.escape(name)}</a> ' for name in parts)
    body = [section(name, content, anchors[name]) for name, content in parts.items()]
    with written_whole(path) as temporary:
        temporary.write_text(
            page(title, "\n".join([head, f"<nav>{links}</nav>", *body])), encoding="utf-8"
        )
    return Path(path)


def _check_figures(figures: Iterable[Figure]) -> None:
    """Refuse pictures that no browser would show, before anything is computed."""
    faults = []
    for path in (Path(figure.path) for figure in figures):
        try:
            with path.open("rb") as file:
                found = "" if file.read(len(_PNG)) == _PNG else "is not a PNG file"
        except OSError as error:
            found = f"cannot be read ({error.strerror or error})"
        faults += [f"{path} {found}"] if found else []
    if faults:
        raise FileFormatError(
            f"the report takes figures that are PNG files, as figure.savefig('name.png') writes: "
            f"{'; '.join(faults)}."
        )


def _check_held_out(obs: xr.Dataset, held_out: Any) -> None:
    """Refuse what is no prediction, and rows that the fit saw: the page calls them held out."""
    given = held_out if isinstance(held_out, xr.Dataset) else xr.Dataset()
    missing = [repr(name) for name in ("score", "median", "lower", "upper") if name not in given]
    if "ci_prob" not in given.attrs:
        missing.append("attribute 'ci_prob', the probability of its intervals")
    if missing:
        raise SpecificationError(
            "held_out must be a prediction at observations with a score, as law.predict("
            f"observations) returns; it has no {', '.join(missing)}."
        )
    # By all that both say of a row: replicates differ in something, or observations refuse them.
    names = [n for n in obs.data_vars if n in held_out and n not in PREDICTED]
    seen, rows = (
        list(ds[names].to_dataframe()[names].astype(str).itertuples(index=False, name=None))
        for ds in (obs, held_out)
    )
    again = np.flatnonzero(pd.Series(rows).isin(set(seen)))
    if again.size:
        shown = ", ".join(str(held_out[OBS_DIM].values[i]) for i in again[:5])
        raise SpecificationError(
            f"{again.size} of {len(rows)} row(s) of held_out are in the fit as well (rows {shown}"
            f"{', …' if again.size > 5 else ''}). Leave them out of one of the two: what a fit saw "
            "does not test it."
        )


def _parts(
    law: Any,
    held_out: xr.Dataset | None,
    figures: list[Figure],
    settings: Mapping[str, Any],
    ci_prob: float,
) -> dict[str, str]:
    """Sections by their headings."""
    cells = designs.cells_of(law.obs)
    parts = {"Data": sections.data(law.obs, held_out), "Review": sections.review(law)}
    if held_out is not None:
        parts["Held-out scores"] = sections.held_out_scores_and_points(held_out)
    parts["Prompt length"] = pictures.context_curves(law, cells, held_out, ci_prob)
    parts["Training compute"] = pictures.compute_curves(law, ci_prob)
    if figures:
        parts["Figures"] = "".join(picture(Path(f.path), f.caption) for f in figures)
    parts["Beyond the data"] = sections.extrapolation(law, cells, ci_prob)
    pairs, left_out = _techniques(law.obs, law.levels)
    if pairs:
        parts["Contrasts"] = _contrasts(law, pairs, left_out, ci_prob)
    parts["Reading the intervals"] = sections.INTERVALS
    parts["Law and priors"] = f"<pre>{html.escape(str(law))}</pre>"
    parts["Making it again"] = reproduction(law, settings)
    return parts


_MOST_CONTRASTS = 6


def _techniques(obs: xr.Dataset, levels: Mapping[str, Any]) -> tuple[list[tuple[str, str]], int]:
    """Pairs of techniques to compare, and how many are left out.

    First those that the observations tell from other labels; of these, and of the rest, first those
    with the most checkpoints.
    """
    if "technique" not in levels or "technique" not in obs:
        return [], 0
    llms = pd.DataFrame({name: obs[name].values for name in ("technique", "llm")})
    count = llms.drop_duplicates()["technique"].value_counts()
    pairs = sorted(
        combinations(count.sort_values(ascending=False, kind="stable").index, 2),
        key=lambda pair: (
            not confounding(obs, "technique", *pair).identified,
            -sum(count[name] for name in pair),
        ),
    )
    return pairs[:_MOST_CONTRASTS], len(pairs[_MOST_CONTRASTS:])


def _contrasts(law: Any, pairs: list[tuple[str, str]], left_out: int, ci_prob: float) -> str:
    from bayes_ctxlaw.contrasts import contrast

    text = paragraph(
        "Pairs of techniques, all else equal; first those that the observations can tell from "
        "everything else."
        + (f" {left_out} further pairs are left to bcl.contrast." if left_out else ""),
        "note",
    )
    for a, b in pairs:
        at = designs.side_by_side(law.obs, a, b)
        found = contrast(law, "technique", a, b, at, ci_prob=ci_prob)
        text += sections.comparison(found) + pictures.contrast_curve(found)
    return text
