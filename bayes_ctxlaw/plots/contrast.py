"""Difference of two labels along prompt length or compute."""

from __future__ import annotations

from typing import Any

import numpy as np

from bayes_ctxlaw.contrasts import Contrast, spoken
from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.plots import _axes, _style

_ROPE = {"facecolor": "0.95", "edgecolor": "0.8", "hatch": "////", "linewidth": 0}
"""Unlike a band, which is grey where there are several curves."""

_AXES = {
    "prompt_tokens": ("prompt tokens", _axes.token_label),
    "compute": ("training compute (FLOP)", _axes.flop_label),
}


def plot_contrast(
    contrast: Contrast,
    *,
    along: str = "prompt_tokens",
    panels: str | None = None,
    axes: Any = None,
) -> np.ndarray:
    """Plot by how much two labels differ, with the interval and the margin that does not matter.

    Lines are posterior medians of the difference, bands its intervals. Of a single curve, numbers
    above the axis are the probability that the first label scores higher. The hatched strip is the
    region of practical equivalence, if the contrast has a margin. Dotted lines stand at the context
    windows.

    Parameters
    ----------
    contrast : Contrast
        From ``bcl.contrast``.
    along : {"prompt_tokens", "compute"}
        What is on the x axis.
    panels : str, optional
        ``"task"`` for a panel for each task; by default the average over tasks.
    axes : Axes or array of Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        One for each panel.

    Raises
    ------
    SpecificationError
        `along` or `panels` is not in the contrast, or there are too many panels.

    Examples
    --------
    >>> import bayes_ctxlaw as bcl
    >>> law = bcl.ContextLaw()
    >>> idata = law.fit(bcl.load_dataset("helmet_icl"), draws=50, tune=100, random_seed=1,
    ...                 progressbar=False)
    >>> found = bcl.contrast(law, "technique", "YaRN", "PI", rope=0.02)
    >>> bcl.plots.plot_contrast(found)[0].get_xlabel()
    'prompt tokens'
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    _axes.check_given("contrast", contrast, Contrast, "contrast")
    if along not in _AXES:
        allowed = ", ".join(map(repr, _AXES))
        raise SpecificationError(f"along={along!r} is not one of {allowed}.")
    found = contrast.curve if panels is None else contrast.scores
    missing = [name for name in (along, panels) if name is not None and name not in found]
    if missing:
        raise SpecificationError(
            f"the contrast has no {', '.join(map(repr, missing))}; it has "
            f"{', '.join(n for n in (*_AXES, 'task', 'family', 'technique') if n in found)}."
        )
    rows = found.to_dataframe()
    titles = [None] if panels is None else list(dict.fromkeys(rows[panels]))
    split = [
        name
        for name in (
            "task",
            "family",
            "technique",
            "llm",
            "compute",
            "prompt_tokens",
            "context_window",
        )
        if name in rows and name not in (along, panels) and rows[name].nunique() > 1
    ]
    keys = [()] if not split else list(dict.fromkeys(map(tuple, rows[split].to_numpy().tolist())))
    if len(keys) > _style.MAX_COLOURS:
        raise SpecificationError(
            f"along {along} the contrast has {len(keys)} curves, one for each of its "
            f"{' and '.join(split)}; at most {_style.MAX_COLOURS} can be told apart. Make the "
            "contrast at fewer points: at=grid(...)."
        )
    shades = _style.colours(len(keys), False, " and ".join(split) or along)
    drawn, new = _axes.panel_axes(len(titles), axes)
    rope = found.attrs.get("rope")
    title, label = _AXES[along]
    windows = set()
    for ax, name in zip(drawn, titles, strict=True):
        here = rows if name is None else rows[rows[panels] == name]
        ax.axhline(0.0, color="0.3", linewidth=0.9)
        if rope is not None:
            ax.axhspan(-rope, rope, **_ROPE, zorder=0)
        for key, colour, marker in zip(keys, shades, _style.MARKERS, strict=False):
            own = here
            for part, value in zip(split, key, strict=True):
                own = own[own[part] == value]
            own = own.sort_values(along)
            if own.empty:
                continue
            _draw_curve(ax, own, along, colour, marker)
        _axes.log_axis(ax, here[along].to_numpy(), label)
        ax.set_xlabel(title)
        if along == "prompt_tokens" and "context_window" in here:
            low, high = ax.get_xlim()
            for window in np.unique(here["context_window"]):
                if low < window < high:
                    windows.add(window)
                    ax.axvline(window, color="0.35", linewidth=0.9, linestyle=":", zorder=1)
        if len(keys) == 1:
            _write_probabilities(ax, here.sort_values(along), along)
        _axes.finish_panel(ax)
        if name is not None:
            _axes.panel_title(ax, _axes.value_label(panels, name), pad=16)
    for ax in drawn:
        if not new or _axes.is_left(ax):
            ax.set_ylabel(f"score of {spoken(contrast.a)}\nless that of {spoken(contrast.b)}")
    handles = []
    if split:
        for key, colour, marker in zip(keys, shades, _style.MARKERS, strict=False):
            text = ", ".join(_axes.value_label(n, v) for n, v in zip(split, key, strict=True))
            handles.append(Line2D([], [], color=colour, marker=marker, markersize=4, label=text))
    grey = shades[0] if not split else "0.35"
    handles.append(Line2D([], [], color=grey, linewidth=1.8, label="posterior median"))
    band = _style.interval_text(found)
    handles.append(Patch(color=grey, alpha=_style.BAND_ALPHA, linewidth=0, label=band))
    if rope is not None:
        handles.append(Patch(**_ROPE, label=f"within {rope:g} of each other"))
    if len(keys) == 1:
        text = f"above: probability that {spoken(contrast.a)} is higher"
        handles.append(Line2D([], [], linestyle="none", label=text))
    if windows:
        style = {"color": "0.35", "linewidth": 0.9, "linestyle": ":"}
        handles.append(Line2D([], [], label="context window", **style))
    _style.add_legend(drawn, handles, new)
    return drawn


def _draw_curve(ax: Any, own: Any, along: str, colour: Any, marker: str) -> None:
    at = own[along].to_numpy()
    if len(own) == 1:
        ax.vlines(at, own["lower"], own["upper"], color=colour, linewidth=2, alpha=0.5)
        ax.plot(at, own["median"], marker="_", markersize=10, color=colour, linestyle="none")
        return
    ax.fill_between(
        at, own["lower"], own["upper"], color=colour, alpha=_style.BAND_ALPHA, linewidth=0
    )
    every = -(-len(own) // 12)
    style = {"linewidth": 1.8, "marker": marker, "markersize": 4, "markevery": every}
    ax.plot(at, own["median"], color=colour, **style)


def _write_probabilities(ax: Any, own: Any, along: str) -> None:
    """P(first higher) above the axis, at no more places than can be read."""
    step = -(-len(own) // 6)
    for _, row in own.iloc[::step].iterrows():
        ax.annotate(
            f"{row['prob_greater']:.2f}",
            (row[along], 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=_style.SMALL - 1,
            color="0.35",
        )
