"""Score over prompt length and compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from bayes_ctxlaw.errors import SpecificationError
from bayes_ctxlaw.plots import _axes, _style

VALUES = {
    "median": "score: posterior median",
    "width": "width of the interval",
}


def plot_surface(
    prediction: xr.Dataset,
    *,
    value: str = "median",
    panels: str | None = "task",
    axes: Any = None,
) -> np.ndarray:
    """Plot the score over prompt tokens and training compute, as a filled contour.

    The dashed line runs through the last points of the grid inside the data of the fit: what lies
    outside it is extrapolated.

    Parameters
    ----------
    prediction : xr.Dataset
        From ``law.predict`` at a ``grid`` with several values of both ``prompt_tokens`` and
        ``compute``, all else single within a panel.
    value : {"median", "width"}
        What is drawn: the posterior median, or the width of the interval.
    panels : str or None
        Variable with a panel for each value.
    axes : Axes or array of Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        One for each panel.

    Raises
    ------
    SpecificationError
        The rows of a panel are not a full grid of both variables.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_ctxlaw.observations import grid
    >>> at = grid(task="qa", llm="A", compute=[1e22, 1e23], context_window=8192,
    ...           prompt_tokens=[100, 1000, 8000])
    >>> prediction = at.assign(median=("obs_id", np.linspace(0.1, 0.6, 6)))
    >>> plot_surface(prediction)[0].get_title()
    'qa'
    """
    if value not in VALUES:
        raise SpecificationError(f"value={value!r} is not one of 'median', 'width'.")
    names = ["prompt_tokens", "compute", *([panels] if panels else [])]
    missing = [name for name in names if name not in prediction]
    if missing:
        raise SpecificationError(f"the prediction has no {', '.join(map(repr, missing))}.")
    rows = prediction[names].to_dataframe()[names]
    rows["shown"] = (
        prediction["median"] if value == "median" else prediction["upper"] - prediction["lower"]
    ).values
    rows["beyond"] = (
        prediction["extrapolation"].max("axis").values if "extrapolation" in prediction else 0.0
    )
    titles = [None] if panels is None else list(dict.fromkeys(rows[panels]))
    parts = [rows if t is None else rows[rows[panels] == t] for t in titles]
    faults = [part for part in parts if not _is_grid(part)]
    if faults:
        raise SpecificationError(
            "a surface needs every combination of at least two values of prompt_tokens and of "
            "compute, once in each panel: predict at "
            "grid(..., compute=[...], prompt_tokens=[...]) with all else single, or let `panels` "
            "name what varies."
        )
    drawn, new = _axes.panel_axes(len(titles), axes)
    top = max(float(rows["shown"].max()), 1e-3)
    levels = np.linspace(0.0, top, 13)
    filled, outside = None, None
    for ax, title, part in zip(drawn, titles, parts, strict=True):
        table = part.pivot(index="compute", columns="prompt_tokens", values="shown")
        beyond = part.pivot(index="compute", columns="prompt_tokens", values="beyond").to_numpy()
        x, y = table.columns.to_numpy(), table.index.to_numpy()
        filled = ax.contourf(x, y, table.to_numpy(), levels=levels, cmap="viridis")
        if (beyond > 0).all():
            _note(ax, "all of it beyond the data")
        elif (beyond > 0).any():
            outside = outside or ax
            # At the least distance: the line meets the last points that have none.
            ax.contour(
                x, y, (beyond > 0).astype(float), levels=[1e-6], colors="white", linestyles="--"
            )
        _axes.log_axis(ax, x, _axes.token_label)
        _axes.log_axis(ax, y, _axes.flop_label, vertical=True)
        ax.set_xlim(x[0], x[-1])
        ax.set_ylim(y[0], y[-1])
        ax.set_xlabel("prompt tokens")
        if title is not None:
            _axes.panel_title(ax, _axes.value_label(panels, title))
        if not new or _axes.is_left(ax):
            ax.set_ylabel("training compute (FLOP)")
    text = VALUES[value]
    if value == "width":
        text += f"\n({_style.interval_text(prediction)})"
    bar = drawn[0].figure.colorbar(filled, ax=list(drawn), label=text)
    bar.ax.yaxis.set_major_formatter(lambda score, _: f"{score:.2g}")
    if outside is not None:
        _note(outside, "dashed: edge of the data")
    return drawn


def _note(ax: Any, text: str) -> None:
    # The colours run from dark to bright: white alone is not seen everywhere.
    box = {"facecolor": "0.2", "alpha": 0.7, "linewidth": 0, "pad": 2}
    style = {"color": "white", "fontsize": _style.SMALL - 1, "bbox": box}
    ax.text(0.02, 0.03, text, transform=ax.transAxes, **style)


def _is_grid(part: Any) -> bool:
    x, y = part["prompt_tokens"].nunique(), part["compute"].nunique()
    single = not part.duplicated(["prompt_tokens", "compute"]).any()
    return min(x, y) >= 2 and len(part) == x * y and single
