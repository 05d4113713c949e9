"""Score against one variable of the design: what the context and the compute curve share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_ctxlaw.observations import as_observations
from bayes_ctxlaw.plots import _axes, _style
from bayes_ctxlaw.plots._rows import (
    BEYOND,
    CurveAxis,
    along,
    matches,
    observation_rows,
    prediction_rows,
    values_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass
class Picture:
    """A plot of curves while it is drawn.

    Attributes
    ----------
    axis : CurveAxis
    by, panels : str or None
        Variables told apart by colour and by panel.
    keys, titles : list
        Their values, in order.
    colours : list
        One for each of `keys`.
    seen : set of str
        What the legend must explain.
    told : bool
        Whether it is known which observations the fit saw.
    """

    axis: CurveAxis
    by: str | None
    panels: str | None
    keys: list[Any]
    titles: list[Any]
    colours: list[Any]
    seen: set[str]
    told: bool


def draw_curves(
    prediction: xr.Dataset,
    observations: Any,
    axis: CurveAxis,
    *,
    by: str | None,
    panels: str | None,
    axes: Any,
    held_out: Any,
    window: bool,
) -> np.ndarray:
    """Draw the medians, the bands and the points of all panels.

    Parameters
    ----------
    prediction, observations, by, panels, axes, held_out, window
        As in `plot_context_curve`.
    axis : CurveAxis

    Returns
    -------
    ndarray of Axes

    Raises
    ------
    SpecificationError, ObservationError, FileFormatError
    """
    rows = prediction_rows(prediction, axis, by, panels)
    if observations is not None and not isinstance(observations, xr.Dataset):
        observations = as_observations(observations)
    points = observation_rows(observations, axis, by, panels, held_out)
    keys, titles = values_of(rows, by), values_of(rows, panels)
    ordered = by is not None and not isinstance(keys[0], str)
    shades = _style.colours(len(keys), ordered, by or "")
    told = held_out is not None or (observations is not None and "held_out" in observations)
    picture = Picture(axis, by, panels, keys, titles, shades, set(), told)
    drawn, new = _axes.panel_axes(len(titles), axes)
    names = titles if panels is None else _axes.value_labels(panels, titles)
    for ax, title, name in zip(drawn, titles, names, strict=True):
        here = rows if panels is None else rows[rows[panels] == title]
        seen = points
        if points is not None and panels is not None:
            seen = points[matches(points[panels], title, titles)]
        _draw_panel(ax, here, seen, picture, window)
        if panels is not None:
            _axes.panel_title(ax, name)
    for ax in drawn:
        if not new or _axes.is_left(ax):
            ax.set_ylabel("score")
    _style.add_legend(drawn, _legend(picture, prediction, points is not None), new)
    return drawn


def _draw_panel(
    ax: Axes, rows: pd.DataFrame, points: pd.DataFrame | None, picture: Picture, window: bool
) -> None:
    x, spread = picture.axis.variable, [rows[picture.axis.variable].to_numpy()]
    split = [n for n in picture.axis.split if n in rows and n not in (picture.by, picture.panels)]
    for number, (key, colour) in enumerate(zip(picture.keys, picture.colours, strict=True)):
        here = rows if picture.by is None else rows[rows[picture.by] == key]
        for _, curve in here.groupby(split, sort=False, dropna=False) if split else [(None, here)]:
            _draw_curve(ax, along(curve, x), x, colour, picture)
        if points is not None:
            own = points
            if picture.by is not None:
                own = points[matches(points[picture.by], key, picture.keys)]
            spread.append(own[x].to_numpy())
            _draw_points(ax, own, x, colour, _style.MARKERS[number], picture)
    _axes.log_axis(ax, np.concatenate(spread), picture.axis.label)
    ax.set_xlabel(picture.axis.title)
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -0.02), min(high, 1.02))
    _axes.finish_panel(ax)
    if window and "context_window" in rows:
        _draw_windows(ax, np.unique(rows["context_window"]), picture)


def _draw_curve(ax: Axes, curve: pd.DataFrame, x: str, colour: Any, picture: Picture) -> None:
    at, median = curve[x].to_numpy(), curve["median"].to_numpy()
    lower, upper = curve["lower"].to_numpy(), curve["upper"].to_numpy()
    flags = {name: curve[f"beyond {name}"].to_numpy() for name in BEYOND}
    picture.seen |= {f"beyond {name}" for name, flag in flags.items() if flag.any()}
    beyond = np.logical_or.reduce(list(flags.values()))
    if len(curve) == 1:
        style = "--" if beyond[0] else "-"
        ax.vlines(at, lower, upper, color=colour, linewidth=2, alpha=0.5, linestyle=style)
        ax.plot(at, median, marker="_", markersize=10, color=colour, linestyle="none")
        return
    ax.fill_between(at, lower, upper, color=colour, alpha=_style.BAND_ALPHA, linewidth=0)
    # A step with one end beyond the data is beyond them.
    dashed = beyond[:-1] | beyond[1:]
    for run in np.split(np.arange(len(dashed)), np.flatnonzero(np.diff(dashed)) + 1):
        ends = slice(run[0], run[-1] + 2)
        style = "--" if dashed[run[0]] else "-"
        ax.plot(at[ends], median[ends], linestyle=style, color=colour, linewidth=1.8)


def _draw_points(
    ax: Axes, points: pd.DataFrame, x: str, colour: Any, marker: str, picture: Picture
) -> None:
    for is_open, face in ((False, colour), (True, "white")):
        some = points[points["open"] == is_open]
        if some.empty:
            continue
        picture.seen.add("held out" if is_open else "in the fit")
        style = {"marker": marker, "s": 26, "linewidths": 1.2, "zorder": 3}
        ax.scatter(some[x], some["score"], facecolors=face, edgecolors=colour, **style)


def _draw_windows(ax: Axes, windows: np.ndarray, picture: Picture) -> None:
    """Thin vertical lines at the windows that lie inside the panel."""
    low, high = ax.get_xlim()
    inside = [w for w in windows if low < w < high]
    for value in inside:
        picture.seen.add("window")
        ax.axvline(value, color="0.35", linewidth=0.9, linestyle=":", zorder=1)


def _legend(picture: Picture, prediction: xr.Dataset, points: bool) -> list[Any]:
    """Artists that explain what was drawn: first the colours, then what all colours share."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    marked = points and picture.seen & {"held out", "in the fit"}
    handles: list[Any] = []
    if picture.by is not None:
        labels = _axes.value_labels(picture.by, picture.keys)
        for number, (label, colour) in enumerate(zip(labels, picture.colours, strict=True)):
            marker = _style.MARKERS[number] if marked else None
            handles.append(Line2D([], [], color=colour, marker=marker, markersize=5, label=label))
    grey = picture.colours[0] if picture.by is None else "0.35"
    handles.append(Line2D([], [], color=grey, linewidth=1.8, label="posterior median"))
    band = _style.interval_text(prediction)
    handles.append(Patch(color=grey, alpha=_style.BAND_ALPHA, linewidth=0, label=band))
    beyond = [text for name, text in BEYOND.items() if f"beyond {name}" in picture.seen]
    if beyond:
        text = f"beyond the data ({', '.join(beyond)})"
        handles.append(Line2D([], [], color=grey, linestyle="--", linewidth=1.8, label=text))
    for state, face in (("in the fit", grey), ("held out", "white")):
        if state in picture.seen:
            style = {"marker": "o", "markersize": 5, "markerfacecolor": face}
            text = f"observed, {state}" if picture.told else "observed"
            handles.append(Line2D([], [], color=grey, linestyle="none", label=text, **style))
    if "window" in picture.seen:
        style = {"color": "0.35", "linewidth": 0.9, "linestyle": ":"}
        handles.append(Line2D([], [], label="context window", **style))
    return handles
