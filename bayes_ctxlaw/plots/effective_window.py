"""Effective windows against the nominal ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.plots import _axes, _style
from bayes_ctxlaw.windows import EffectiveWindow

_LABELS = ("task", "llm", "technique", "family")


def plot_effective_window(
    found: EffectiveWindow, *, by: str | None = "technique", axes: Any = None
) -> np.ndarray:
    """Plot how far checkpoints keep their score, a line for each row.

    A dot is the median of the effective window, the line its interval, the grey mark the nominal
    window. A line that ends in an arrow goes on further than was looked.

    Parameters
    ----------
    found : EffectiveWindow
        From ``bcl.effective_window``; at most 60 rows.
    by : str, optional
        Variable told apart by colour.
    axes : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        One.

    Raises
    ------
    SpecificationError
        There are more rows than can be read, `by` is not in them, or `found` is something else.

    Examples
    --------
    >>> import xarray as xr
    >>> from bayes_ctxlaw.windows import EffectiveWindow
    >>> names = {"effective": 6e3, "effective_lower": 4e3, "effective_upper": 9e3}
    >>> windows = xr.Dataset({name: ("obs_id", [value]) for name, value in names.items()})
    >>> windows = windows.assign(context_window=("obs_id", [8192.0]), task=("obs_id", ["qa"]))
    >>> windows = windows.assign_attrs(share=0.8, ci_prob=0.9, ci_kind="equal-tailed")
    >>> plot_effective_window(EffectiveWindow(windows), by=None)[0].get_xlabel()
    'prompt tokens'
    """
    from matplotlib.lines import Line2D

    _axes.check_given("found", found, EffectiveWindow, "effective_window")
    rows = found.windows.to_dataframe()
    if len(rows) > 60:
        raise SpecificationError(
            f"there are {len(rows)} rows; at most 60 can be read. Ask for fewer tasks or "
            "checkpoints."
        )
    if by is not None and by not in rows:
        raise SpecificationError(f"by={by!r} is not a variable of the windows.")
    varying = [n for n in _LABELS if n in rows and rows[n].nunique() > 1]
    rest = [n for n in varying if n != by]
    if not rest or not rows.duplicated(rest).any():
        varying = rest  # the colour says what these leave out
    varying = varying or [n for n in _LABELS if n in rows][:1]
    keys = [None] if by is None else list(dict.fromkeys(rows[by]))
    shades = dict(zip(keys, _style.colours(len(keys), False, by or "", panels=False), strict=True))
    rows = rows.sort_values(varying[0], kind="stable") if varying else rows
    new = axes is None
    if new:
        import matplotlib.pyplot as plt

        _, axes = plt.subplots(figsize=(7.5, 0.26 * len(rows) + 1.2), layout="constrained")
    ax = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()[0]
    finite = rows[["effective_lower", "effective_upper", "context_window"]].to_numpy()
    limit = finite[np.isfinite(finite)].max() * 1.3
    for place, (_, row) in enumerate(rows.iterrows()):
        colour = shades[row[by] if by is not None else None]
        low, high = min(row["effective_lower"], limit), min(row["effective_upper"], limit)
        ax.plot([low, high], [place, place], color=colour, linewidth=2, alpha=0.6)
        if np.isinf(row["effective_upper"]):
            ax.plot(limit, place, marker=">", color=colour, markersize=6)
        if np.isfinite(row["effective"]):
            ax.plot(row["effective"], place, marker="o", color=colour, markersize=5)
        ax.plot(row["context_window"], place, marker="|", color="0.4", markersize=11)
    _axes.log_axis(ax, np.append(finite[np.isfinite(finite)], limit), _axes.token_label)
    ax.set_yticks(
        range(len(rows)), [", ".join(str(row[n]) for n in varying) for _, row in rows.iterrows()]
    )
    ax.invert_yaxis()
    ax.set_xlabel("prompt tokens")
    _axes.finish_panel(ax, "x")
    handles = (
        [] if by is None else [Line2D([], [], color=c, label=str(k)) for k, c in shades.items()]
    )
    share = f"prompt that keeps {100 * found.windows.attrs['share']:g} % of the score: median"
    handles += [
        Line2D([], [], color="0.3", marker="o", linestyle="none", label=share),
        Line2D([], [], color="0.3", linewidth=2, label=_style.interval_text(found.windows)),
        Line2D(
            [], [], color="0.4", marker="|", markersize=10, linestyle="none", label="nominal window"
        ),
    ]
    drawn = np.array([ax], dtype=object)
    _style.add_legend(drawn, handles, new)
    return drawn
