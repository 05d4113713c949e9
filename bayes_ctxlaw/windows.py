"""Up to which prompt length a checkpoint keeps its score: the effective window, with its interval.

The nominal window is what a model accepts. What it can use is read off the law: the longest prompt
at which the score is still a given share of the best one inside the nominal window.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw._html import table as html_table
from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.law import natural
from bayes_ctxlaw.observations import as_design
from bayes_ctxlaw.output import with_intervals_named
from bayes_ctxlaw.predict import Predictor, check_law, check_options
from bayes_ctxlaw.schema import OBS_DIM

_PER_OCTAVE = 12  # lengths looked at; between them the score is taken as straight in log length
_OCTAVES_OUT = 4  # past the nominal window that are looked at
_SHORTEST = 1.0 / 1024  # of the window, from where its best score is looked for


@dataclass(frozen=True, eq=False)
class EffectiveWindow:
    """Effective windows of the rows asked for.

    Attributes
    ----------
    windows : xr.Dataset
        Along ``obs_id``, in tokens: ``effective`` (median), ``effective_lower`` and
        ``effective_upper``, the longest prompt that keeps the share; ``ratio`` (median), over the
        nominal window; ``prob_nominal``, the probability that the share is kept to the end of the
        nominal window; ``prob_beyond``, that it is kept as far as was looked; ``half``,
        ``half_lower`` and ``half_upper``, where the penalty halves the score (blank where the law
        has no log-logistic penalty). Ends further out than was looked are infinite.
    """

    windows: xr.Dataset

    @property
    def table(self) -> pd.DataFrame:
        """One row a design, with what its intervals are and the share that is kept."""
        attrs = self.windows.attrs
        return with_intervals_named(self._rows.assign(share=attrs["share"]), attrs)

    @property
    def _rows(self) -> pd.DataFrame:
        """Without what all have in common, and what the sentence says."""
        table = self.windows.to_dataframe().reset_index(drop=True)
        same = [n for n in ("family", "compute", "chance", "n_items") if n in table]
        return table.drop(columns=same + ["prompt_tokens"] * ("prompt_tokens" in table))

    @property
    def sentence(self) -> str:
        """What the windows are, in a sentence."""
        attrs, windows = self.windows.attrs, self.windows
        kept = int((windows["prob_nominal"] >= 0.5).sum())
        rows = windows.sizes[OBS_DIM]
        median = float(windows["ratio"].median())
        far = "more than 16" if math.isinf(median) else f"{median:.2g}"
        return (
            f"{kept} of {rows} rows keep {100 * attrs['share']:g} % of their best score inside the "
            f"window to its nominal end, more likely than not; the middle one keeps it over {far} "
            f"times the nominal window ({attrs['prediction_kind']}, "
            f"{100 * attrs['ci_prob']:g} % equal-tailed intervals)."
        )

    def __str__(self) -> str:
        return f"{self.sentence}\n\n{self._rows.round(3).to_string(index=False)}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p><b>{html.escape(self.sentence)}</b></p>{html_table(self._rows.round(3))}"


def effective_window(
    law: Any,
    at: Any,
    *,
    share: float = 0.8,
    kind: str = "llm",
    ci_prob: float = 0.9,
    new_levels: str = "error",
    random_seed: int | None = None,
    **column_names: str,
) -> EffectiveWindow:
    r"""Longest prompts at which a share of the in-window score is kept.

    Parameters
    ----------
    law : ContextLaw
        Fitted.
    at : Dataset, DataFrame, path or list of dict
        Rows to judge: tasks, checkpoints and windows. Like every design they have a prompt length,
        which makes no difference here; of rows that differ in it only one is kept.
    share : float
        Of the highest score that the law has inside the nominal window, at prompts no shorter than
        those of the task in the fit.
    kind : {"llm", "law"}
        With the effect of the checkpoint, or of the parameters only. Noise of an evaluation has no
        window.
    ci_prob : float
        Probability of the equal-tailed intervals.
    new_levels : {"error", "uncertainty"}
        What to do with labels that the fit never saw.
    random_seed : int, optional
        Of new labels' effects. If None, that of the fit.
    **column_names : str
        Canonical name = own column name, for `at`.

    Returns
    -------
    EffectiveWindow

    Raises
    ------
    NotFittedError
        If the law was not fitted.
    SpecificationError
        If an option is unknown or out of range.
    UnknownLabelError
        If a label was not in the fit and `new_levels` is ``"error"``.

    Notes
    -----
    The score is looked at from the shortest prompt of the task in the fit (at least 1/1024, at most
    half of the window) to sixteen windows, at twelve lengths an octave, and is taken as straight in
    the logarithm of length in between. The longest prompt that
    keeps the share is the last crossing. The penalty alone halves the score at
    :math:`n_\mathrm{ctx} e^{\delta}`, sooner or later where no prompts were tried so near to the
    end of the window: exponents may break there, as in every prediction.

    References
    ----------
    Effective length as the longest at which a model keeps a set performance: Hsieh et al. (2024),
    arXiv:2404.06654, with a fixed score in place of a share.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> obs = bcl.load_dataset("montgomery2025")
    >>> law = bcl.ContextLaw()
    >>> idata = law.fit(obs, draws=50, tune=100, random_seed=1, progressbar=False)
    >>> found = bcl.effective_window(law, obs.isel(obs_id=[0]), share=0.5)
    >>> bool((found.windows["effective_lower"] <= found.windows["effective_upper"]).all())
    True
    """
    faults = []
    if not (isinstance(share, Real) and 0 < share < 1):
        faults.append(f"share={share!r} must lie between 0 and 1, such as 0.8")
    if kind not in ("law", "llm"):
        faults.append(f"kind={kind!r} is not one of 'law', 'llm': a window has no evaluation noise")
    if faults:
        raise SpecificationError("; ".join(faults) + ".")
    check_law(law, "an effective window")
    predictor = law.predictor(random_seed)
    check_options(kind, ci_prob, new_levels)
    rows = _distinct(predictor.encoding.with_chance(as_design(at, **column_names)))
    predictor.check_labels(rows, kind, new_levels)
    tail = (1.0 - ci_prob) / 2.0
    probabilities = (tail, 0.5, 1.0 - tail)
    numbers, combinations = predictor.combinations(rows, kind)
    found = [
        _of_row(
            predictor,
            rows.isel(obs_id=[row]),
            kind,
            share,
            probabilities,
            combinations[numbers[row]],
        )
        for row in range(rows.sizes[OBS_DIM])
    ]
    interval = f"{100 * ci_prob:g} % equal-tailed interval"
    words = {
        "effective": ("tokens", f"longest prompt that keeps {100 * share:g} % of the score"),
        "effective_lower": ("tokens", f"lower end of its {interval}"),
        "effective_upper": ("tokens", f"upper end of its {interval}"),
        "ratio": ("1", "effective over nominal window"),
        "prob_nominal": ("1", "probability that it reaches the nominal window"),
        "prob_beyond": ("1", "probability that it is further out than was looked"),
        "half": ("tokens", "prompt at which the penalty halves the score"),
        "half_lower": ("tokens", f"lower end of its {interval}"),
        "half_upper": ("tokens", f"upper end of its {interval}"),
    }
    out = rows.assign(
        {
            name: (OBS_DIM, np.array([f[name] for f in found]), {"units": unit, "long_name": text})
            for name, (unit, text) in words.items()
        }
    )
    return EffectiveWindow(
        out.assign_attrs(
            share=float(share),
            prediction_kind=kind,
            ci_prob=float(ci_prob),
            ci_kind="equal-tailed",
        )
    )


def _distinct(rows: xr.Dataset) -> xr.Dataset:
    """The first of rows that differ in prompt length, score and number of items only."""
    names = ("task", "llm", "family", "technique", "compute", "context_window", "chance")
    kept = [name for name in names if name in rows]
    frame = pd.DataFrame({name: rows[name].values for name in kept})
    first = np.flatnonzero(~frame.duplicated().to_numpy())
    return rows[[*kept, "prompt_tokens"]].isel(obs_id=first)


def _of_row(
    predictor: Predictor,
    row: xr.Dataset,
    kind: str,
    share: float,
    probabilities: tuple[float, float, float],
    labels: dict[str, str],
) -> dict[str, float]:
    window = float(row["context_window"].values[0])
    shortest = _shortest(predictor, str(row["task"].values[0])) / window
    octaves = -math.log2(min(max(shortest, _SHORTEST), 0.5))
    inside = round(octaves * _PER_OCTAVE)
    steps = np.arange(-inside, _OCTAVES_OUT * _PER_OCTAVE + 1)
    ratio = 2.0 ** (steps / _PER_OCTAVE)
    lengths = row.isel(obs_id=np.zeros(len(ratio), dtype=int))
    lengths["prompt_tokens"] = OBS_DIM, window * ratio
    score = np.concatenate(list(predictor.blocks(lengths, kind)), axis=1)
    wanted = share * score[:, : inside + 1].max(axis=1)
    last = _last_crossing(score, wanted, np.log(ratio))
    low, middle, high = np.quantile(np.exp(last), probabilities, method="inverted_cdf")
    half = np.full(3, np.nan)
    if predictor.spec.terms.penalty == "log_logistic":
        delta = natural("delta", predictor.totals(labels)["delta"])
        ends = _reached(predictor.window_ratios(lengths, kind), delta, np.log(ratio))
        half = window * np.exp(np.quantile(ends, probabilities))
    return {
        "effective": window * middle,
        "effective_lower": window * low,
        "effective_upper": window * high,
        "ratio": middle,
        "prob_nominal": float((last >= 0.0).mean()),
        "prob_beyond": float(np.isinf(last).mean()),
        "half_lower": half[0],
        "half": half[1],
        "half_upper": half[2],
    }


def _reached(values: np.ndarray, wanted: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Where each draw of a rising curve is at the value wanted; straight on beyond its places.

    Parameters
    ----------
    values : ndarray
        (place, draw), or of one draw for all.
    wanted : ndarray
        (draw,)
    at : ndarray
        (place,)
    """
    values = np.broadcast_to(values, (len(at), len(wanted)))
    after = np.clip((values < wanted).sum(axis=0), 1, len(at) - 1)
    draws = np.arange(len(wanted))
    low, high = values[after - 1, draws], values[after, draws]
    return at[after - 1] + (wanted - low) / (high - low) * (at[after] - at[after - 1])


def _shortest(predictor: Predictor, task: str) -> float:
    """Shortest prompt of a task in the fit: below it the best score would be a guess."""
    edges = predictor.encoding.edges
    own = [edges[task]] if task in edges else list(edges.values())
    return math.exp(min(edge[2] for edge in own))


def _last_crossing(score: np.ndarray, wanted: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Where each draw of a curve is last at the score wanted; infinite where it is at the end.

    Parameters
    ----------
    score : ndarray
        (draw, place); every draw reaches `wanted` somewhere.
    wanted : ndarray
        (draw,)
    at : ndarray
        (place,)
    """
    kept = score >= wanted[:, None]
    last = score.shape[1] - 1 - kept[:, ::-1].argmax(axis=1)
    ends = last == score.shape[1] - 1
    after = np.where(ends, last, last + 1)
    draws = np.arange(len(score))
    drop = np.where(ends, 1.0, score[draws, last] - score[draws, after])
    part = np.where(ends, 0.0, (score[draws, last] - wanted) / drop)
    return np.where(ends, np.inf, at[last] + part * (at[after] - at[last]))
