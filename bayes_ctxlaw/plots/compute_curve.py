"""Score against training compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from bayes_ctxlaw.plots._axes import flop_label
from bayes_ctxlaw.plots._curves import draw_curves
from bayes_ctxlaw.plots._rows import CurveAxis

_AXIS = CurveAxis(
    variable="compute",
    title="training compute (FLOP)",
    label=flop_label,
    # Not llm and family: they change with compute, and a curve runs from one to the next.
    split=("task", "technique", "prompt_tokens", "context_window"),
)


def plot_compute_curve(
    prediction: xr.Dataset,
    observations: Any = None,
    *,
    by: str | None = "prompt_tokens",
    panels: str | None = "task",
    axes: Any = None,
    held_out: Any = None,
) -> np.ndarray:
    """Plot predicted scores against training compute, with the observed ones on top.

    Lines, bands and points are those of `plot_context_curve`. Where `by` or `panels` is a number,
    such as ``prompt_tokens``, observations belong to the nearest value within 26 % (a tenth of a
    decade); the others are not drawn. Checkpoints of the same compute are refused unless `by` or
    `panels` tells them apart.

    Parameters
    ----------
    prediction : xr.Dataset
        From ``law.predict``; best at a grid with many values of ``compute``.
    observations : Dataset, DataFrame, path or list of dict, optional
        Whatever ``as_observations`` takes. Drawn as points where their `by` and `panels` are among
        those predicted.
    by : str or None
        Variable told apart by colour, at most 8 values.
    panels : str or None
        Variable with a panel for each value.
    axes : Axes or array of Axes, optional
        Where to draw; a new figure by default.
    held_out : str or array of bool, optional
        As in `plot_context_curve`.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        One for each panel. ``axes[0].figure`` is the figure.

    Raises
    ------
    SpecificationError
        A variable is missing, or there are more colours or panels than can be read.

    Notes
    -----
    `bayes_ctxlaw.output.prediction_table` gives what is drawn as a DataFrame.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_ctxlaw.observations import grid
    >>> prediction = grid(task="qa", llm="new", compute=np.geomspace(1e22, 1e25, 40),
    ...                   context_window=8192, prompt_tokens=1000)
    >>> rising = ("obs_id", np.linspace(0.2, 0.4, 40))
    >>> prediction = prediction.assign(median=rising, lower=rising, upper=rising)
    >>> axes = plot_compute_curve(prediction)
    >>> axes[0].get_xlabel()
    'training compute (FLOP)'
    """
    return draw_curves(
        prediction,
        observations,
        _AXIS,
        by=by,
        panels=panels,
        axes=axes,
        held_out=held_out,
        window=False,
    )
