"""Axes of the plots: log axes labelled 1k, 10k, 100k or 10²³, and their layout in a figure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from bayes_ctxlaw.errors import SpecificationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

MAX_PANELS = 24
"""More panels than this cannot be read in one figure."""

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def check_given(name: str, value: object, wanted: type, maker: str) -> None:
    """Refuse to draw what the function `maker` of the package did not return.

    Raises
    ------
    SpecificationError
    """
    if not isinstance(value, wanted):
        article = "an" if wanted.__name__[0] in "AEIOU" else "a"
        raise SpecificationError(
            f"{name}={type(value).__name__} must be {article} {wanted.__name__}, from "
            f"bcl.{maker}(...)."
        )


def token_label(value: float) -> str:
    """A number of tokens in few characters.

    Parameters
    ----------
    value : float

    Returns
    -------
    str

    Examples
    --------
    >>> token_label(100), token_label(10_000), token_label(131_072), token_label(2e6)
    ('100', '10k', '131k', '2M')
    """
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def flop_label(value: float, digits: int = 2) -> str:
    """A number of FLOPs as a power of ten.

    Parameters
    ----------
    value : float
    digits : int
        Of its mantissa, at most.

    Returns
    -------
    str

    Examples
    --------
    >>> flop_label(1e23), flop_label(2e23), flop_label(7.8e22)
    ('10²³', '2×10²³', '7.8×10²²')
    """
    exponent = math.floor(math.log10(value) + 1e-9)
    mantissa = f"{value / 10.0**exponent:.{digits}g}"
    if mantissa == "10":
        mantissa, exponent = "1", exponent + 1
    power = f"10{str(exponent).translate(_SUPERSCRIPTS)}"
    return power if mantissa == "1" else f"{mantissa}×{power}"


def value_label(variable: str, value: Any) -> str:
    """A value of a variable of the design, as legends and panel titles spell it.

    Parameters
    ----------
    variable : str
    value : Any

    Returns
    -------
    str

    Examples
    --------
    >>> value_label("prompt_tokens", 8192.0), value_label("llm", "A-8k")
    ('8,192 tokens', 'A-8k')
    """
    if variable in ("prompt_tokens", "context_window"):
        name = "tokens" if variable == "prompt_tokens" else "token window"
        return f"{value:,.0f} {name}"
    if variable == "compute":
        return f"{flop_label(value)} FLOP"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return f"{variable}: {'yes' if value else 'no'}"
    text = f"{value:g}" if isinstance(value, int | float) else str(value)
    return f"{variable}: {text}"


def value_labels(variable: str, values: list[Any]) -> list[str]:
    """`value_label` of several values, with more digits where two would read alike.

    Examples
    --------
    >>> value_labels("compute", [7.80e22, 7.82e22])
    ['7.8×10²² FLOP', '7.82×10²² FLOP']
    """
    labels = [value_label(variable, value) for value in values]
    if variable == "compute" and len(set(labels)) < len(labels):
        return [f"{flop_label(value, 4)} FLOP" for value in values]
    return labels


def log_axis(
    ax: Axes, values: np.ndarray, label: Callable[[float], str], vertical: bool = False
) -> None:
    """Make x, or y, a log axis around `values` with few, plainly labelled ticks.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    values : array
        What must be visible along it, all > 0.
    label : callable
        Text of a tick.
    vertical : bool
        Whether it is y.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    low, high = float(np.min(values)), float(np.max(values))
    decades = math.log10(high / low)
    margin = 10.0 ** max(0.03 * decades, 0.02)
    if vertical:
        ax.set_yscale("log")
        ax.set_ylim(low / margin, high * margin)
    else:
        ax.set_xscale("log")
        ax.set_xlim(low / margin, high * margin)
    axis = ax.yaxis if vertical else ax.xaxis
    # One labelled tick says nothing of a scale: below two decades, 2 and 5 are labelled too, and
    # well below one, evenly spaced numbers.
    if decades < 0.8:
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    else:
        subs = (1.0,) if decades > 2 else (1.0, 2.0, 5.0)
        axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=12))
    axis.set_minor_locator(LogLocator(base=10, subs=np.arange(2, 10), numticks=12))
    # Evenly spaced ticks include one at 0, out of sight, whose text is asked for as well.
    axis.set_major_formatter(FuncFormatter(lambda at, _: label(at) if at > 0 else ""))
    axis.set_minor_formatter(NullFormatter())


def panel_axes(count: int, axes: Any = None) -> tuple[np.ndarray, bool]:
    """One Axes for every panel: those given, or those of a new figure.

    Parameters
    ----------
    count : int
        Number of panels.
    axes : Axes or array of Axes, optional

    Returns
    -------
    tuple of ndarray and bool
        Axes along one dimension, and whether the figure is new.

    Raises
    ------
    SpecificationError
        Too many panels, or fewer Axes than panels.
    """
    if count > MAX_PANELS:
        raise SpecificationError(
            f"there would be {count} panels; at most {MAX_PANELS} can be read in one figure. "
            "Select some rows of the prediction first, or let `panels` name another variable."
        )
    if axes is not None:
        given = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
        if len(given) < count:
            raise SpecificationError(
                f"{len(given)} Axes were given for {count} panels; give at least as many."
            )
        return given[:count], False
    import matplotlib.pyplot as plt

    columns = 2 if count == 4 else min(count, 3)
    rows = math.ceil(count / columns)
    size = ({1: 7.0, 2: 9.0}.get(columns, 11.0), 3.1 * rows + 0.3)
    _, grid = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for spare in grid.ravel()[count:]:
        spare.remove()
    return grid.ravel()[:count], True


def finish_panel(ax: Axes, grid: str = "y") -> None:
    """Leave out what carries no information: the upper and right spine, strong grid lines."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, axis=grid, color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)


def panel_title(ax: Axes, text: str, **style: Any) -> None:
    """Write a title above a panel, small enough not to run into the next one's."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties

    size = FontProperties(size=rcParams["axes.titlesize"]).get_size_in_points()
    width = 72.0 * ax.get_position().width * ax.figure.get_figwidth()
    # A character is about 0.55 of its size wide; the constrained layout widens panels a little.
    size = min(size, 1.15 * width / (0.55 * max(len(text), 1)))
    ax.set_title(text, fontsize=max(size, 7.0), **style)


def is_left(ax: Axes) -> bool:
    """Whether a panel stands at the left edge, where the y axis is labelled."""
    place = ax.get_subplotspec()
    return place is None or place.is_first_col()
