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

    The dashed line is the edge of the data of the fit: what lies outside it is extrapolated.

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
        (prediction["extrapolation"].max("axis") > 0).values
        if "extrapolation" in prediction
        else False
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
    filled, outside = None, False
    for ax, title, part in zip(drawn, titles, parts, strict=True):
        table = part.pivot(index="compute", columns="prompt_tokens", values="shown")
        beyond = part.pivot(index="compute", columns="prompt_tokens", values="beyond").to_numpy()
        x, y = table.columns.to_numpy(), table.index.to_numpy()
        filled = ax.contourf(x, y, table.to_numpy(), levels=levels, cmap="viridis")
        if beyond.any() and not beyond.all():
            outside = True
            ax.contour(x, y, beyond.astype(float), levels=[0.5], colors="white", linestyles="--")
        _axes.log_axis(ax, x, _axes.token_label)
        ax.set_xlim(x[0], x[-1])
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(lambda flops, _: _axes.flop_label(flops))
        ax.yaxis.set_minor_formatter("")
        ax.set_xlabel("prompt tokens")
        if title is not None:
            ax.set_title(_axes.value_label(panels, title))
        if not new or _axes.is_left(ax):
            ax.set_ylabel("training compute (FLOP)")
    text = VALUES[value]
    if value == "width":
        text += f" ({_style.interval_text(prediction)})"
    bar = drawn[0].figure.colorbar(filled, ax=list(drawn), label=text)
    bar.ax.yaxis.set_major_formatter(lambda score, _: f"{score:.2g}")
    if outside:
        drawn[0].text(
            0.02,
            0.02,
            "dashed: edge of the data",
            transform=drawn[0].transAxes,
            color="white",
            fontsize=_style.SMALL - 1,
        )
    return drawn


def _is_grid(part: Any) -> bool:
    x, y = part["prompt_tokens"].nunique(), part["compute"].nunique()
    single = not part.duplicated(["prompt_tokens", "compute"]).any()
    return min(x, y) >= 2 and len(part) == x * y and single
