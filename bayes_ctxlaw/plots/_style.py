"""Colours, markers and legend text shared by the plots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.plots._axes import MAX_PANELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart, without its yellow (too faint
# on white) and with a wine red of Tol's in its place. https://jfly.uni-koeln.de/color/
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#882255",
    "#555555",
)
# The marker says again what the colour says, for print in black and white.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

MAX_COLOURS = len(COLOURS)
BAND_ALPHA = 0.18
SMALL = 9
"""Font size of legends and notes, in points."""


def colours(count: int, ordered: bool, what: str, panels: bool = True) -> list[Any]:
    """Colours to tell `count` labels apart; ordered ones for numbers.

    Parameters
    ----------
    count : int
    ordered : bool
        Whether the labels are numbers in increasing order.
    what : str
        What is coloured, for the message.
    panels : bool
        Whether the plot takes the option of that name.

    Returns
    -------
    list
        Colours that matplotlib understands.

    Raises
    ------
    SpecificationError
        More labels than can be told apart.
    """
    if count > MAX_COLOURS:
        own = f", or give each value its own panel (at most {MAX_PANELS}): panels={what!r}, by=None"
        raise SpecificationError(
            f"`{what}` takes {count} values here; at most {MAX_COLOURS} colours can be told apart. "
            "Select some rows first, or let `by` name a variable with fewer values, or None"
            f"{own if panels else ''}."
        )
    if not ordered:
        return list(COLOURS[:count])
    from matplotlib import colormaps

    return [colormaps["viridis"](0.85 * i / max(count - 1, 1)) for i in range(count)]


def interval_text(prediction: xr.Dataset) -> str:
    """Name the interval of a prediction: probability, kind of interval, kind of prediction.

    Parameters
    ----------
    prediction : xr.Dataset

    Returns
    -------
    str

    Examples
    --------
    >>> attrs = {"ci_prob": 0.9, "ci_kind": "equal-tailed", "prediction_kind": "response"}
    >>> interval_text(xr.Dataset(attrs=attrs))
    '90 % equal-tailed, response'
    """
    attrs = prediction.attrs
    words = [f"{100 * attrs['ci_prob']:g} %"] if "ci_prob" in attrs else ["interval"]
    if "ci_kind" in attrs:
        words.append(str(attrs["ci_kind"]))
    kind = attrs.get("prediction_kind")
    return " ".join(words) + (f", {kind}" if kind else "")


def add_legend(axes: Any, handles: list[Any], new_figure: bool) -> None:
    """Put the legend below a new figure, or into the last of the Axes that were given.

    Parameters
    ----------
    axes : array of Axes
    handles : list
        Artists with labels.
    new_figure : bool
    """
    last: Axes = axes[-1]
    if not new_figure:
        last.legend(handles=handles, fontsize=SMALL - 1, loc="best")
        return
    figure: Figure = last.figure
    labels = [handle.get_label() for handle in handles]
    columns = _legend_columns(labels, figure.get_figwidth())
    rows = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + 0.21 * rows + 0.1)
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=columns,
        fontsize=SMALL,
        frameon=False,
    )


def _legend_columns(labels: list[str], width: float) -> int:
    """The most columns of a legend that fit into `width` inches."""
    for columns in range(len(labels), 1, -1):
        # matplotlib fills column after column; about 14 small characters fit into an inch, and a
        # handle with its space takes as much as seven.
        longest = [max(map(len, part)) for part in _split(labels, columns)]
        if sum(characters + 7 for characters in longest) <= 14 * width:
            return columns
    return 1


def _split(labels: list[str], columns: int) -> list[list[str]]:
    """Labels by column: the first columns hold one more where they do not come out even."""
    size, longer = divmod(len(labels), columns)
    ends = [size * (i + 1) + min(i + 1, longer) for i in range(columns)]
    return [labels[end - size - (i < longer) : end] for i, end in enumerate(ends)]
